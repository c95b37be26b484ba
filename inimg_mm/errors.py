"""Every mistake of a user's that is told in one line, and the line that warns of what may be one."""

import logging


class UsageError(ValueError):
    """A mistake of the caller's, said in one sentence."""


class CheckpointError(UsageError):
    """A file that cannot be read or does not fit; the message is for the user.

    Attributes:
        remedy: The line to write in a config instead, where it is known.
    """

    def __init__(self, message: str, remedy: str = '') -> None:
        super().__init__(message)
        self.remedy = remedy


class RefusedError(CheckpointError):
    """A file that would run code when it is read."""


class AnnotationError(UsageError):
    """An annotation file that cannot be read, or has broken entries; the message names them."""


def warn(text: str) -> None:
    """Say something that a user should see in the log of a run."""
    from mmengine.logging import print_log  # imports torch, which listing configs does without

    print_log(text, 'current', logging.WARNING)
