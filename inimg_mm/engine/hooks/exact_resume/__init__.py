"""A resumed training is the uninterrupted one."""

from .exact_resume import ExactResumeHook

__all__ = ['ExactResumeHook']
