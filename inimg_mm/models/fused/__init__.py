"""Fused operations: what replaces a block's plain formulas on a GPU, with the same numbers.

The plain formulas stay with the blocks: they are the reference, and what runs everywhere else. Triton is
imported with the first map that is fused.
"""

from .calibrate import calibrate, calibrate_fuses
from .gates import has_kernels
from .made_again import checked_recompute, made_again
from .norm_act import norm_act
from .norm_pair import norm_act_of_both
from .opening import opened
from .stem import stem, stem_obstacle
from .switch import ENVIRONMENT, Fused, can_fuse, checked_switch, why_not
from .tail import obstacle, tail, tail_fuses

__all__ = [
    'ENVIRONMENT',
    'Fused',
    'calibrate',
    'calibrate_fuses',
    'can_fuse',
    'checked_recompute',
    'checked_switch',
    'has_kernels',
    'made_again',
    'norm_act',
    'norm_act_of_both',
    'obstacle',
    'opened',
    'stem',
    'stem_obstacle',
    'tail',
    'tail_fuses',
    'why_not',
]
