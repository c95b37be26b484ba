"""Data sets: own data for any config, and the demo sets made on the spot (extra `demo`)."""

from .own_data import own_data

__all__ = ['own_data']
