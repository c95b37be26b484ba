"""Training and testing a config of any OpenMMLab host: what the scripts in ``tools/`` call."""

from .configs import load_config
from .errors import UsageError
from .launch import evaluate, train

__all__ = ['UsageError', 'evaluate', 'load_config', 'train']
