"""Predict on images with the hosts' own inferencers: pictures to look at, and predictions to read."""

from .box_source import BoxSource
from .running import Inferred, infer

__all__ = ['BoxSource', 'Inferred', 'infer']
