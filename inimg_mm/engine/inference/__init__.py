"""Predict on images with the hosts' own inferencers: pictures to look at, and predictions to read."""

from .boxes import BoxSource
from .running import Inferred, infer

__all__ = ['BoxSource', 'Inferred', 'infer']
