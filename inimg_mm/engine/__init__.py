"""Training and testing a config of any OpenMMLab host: what the scripts in ``tools/`` call."""

from .launch import UsageError, evaluate, load_config, train

__all__ = ['UsageError', 'evaluate', 'load_config', 'train']
