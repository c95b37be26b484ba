"""Checkpoints that are whole or not there."""

from .safe_checkpoint import CheckpointNotSavedError, SafeCheckpointHook

__all__ = ['CheckpointNotSavedError', 'SafeCheckpointHook']
