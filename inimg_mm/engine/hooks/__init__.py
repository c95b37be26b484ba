"""Hooks that a config names ``type='inimg_mm.…'``, under any launcher."""

from .corrupt_data import CorruptDataError, CorruptDataHook
from .cuda_graph import CUDAGraphHook
from .exact_resume import ExactResumeHook
from .picture_names import PictureNamesHook
from .safe_checkpoint import CheckpointNotSavedError, SafeCheckpointHook
from .save_predictions import SavePredictionsHook

__all__ = [
    'CUDAGraphHook',
    'CheckpointNotSavedError',
    'CorruptDataError',
    'CorruptDataHook',
    'ExactResumeHook',
    'PictureNamesHook',
    'SafeCheckpointHook',
    'SavePredictionsHook',
]
