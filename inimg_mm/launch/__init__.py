"""Training and testing a config of any OpenMMLab host: what the scripts in ``tools/`` call."""

from .configs import load_config
from .runs import evaluate, train

__all__ = ['evaluate', 'load_config', 'train']
