"""Checkpoints: safe reading, other projects' names, and initialisers that say what they loaded."""

from inimg_mm.errors import CheckpointError

from .fitting import Fit, match, zoo_fits
from .layouts import LAYOUTS, detect, from_native, to_native
from .pretrained import Pretrained
from .reading import read_file, read_state_dict

__all__ = [
    'LAYOUTS',
    'CheckpointError',
    'Fit',
    'Pretrained',
    'detect',
    'from_native',
    'match',
    'read_file',
    'read_state_dict',
    'to_native',
    'zoo_fits',
]
