"""The demo data, made on the spot (extra ``demo``)."""

from .making import make_demo_data

__all__ = ['make_demo_data']
