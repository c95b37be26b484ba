"""Corrupt data: named, and up to a number left out of a training."""

from .corrupt_data import CorruptDataHook
from .guarded_loading import CorruptDataError

__all__ = ['CorruptDataError', 'CorruptDataHook']
