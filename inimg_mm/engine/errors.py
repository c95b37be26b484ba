"""The mistakes that a command line or a config can make."""


class UsageError(ValueError):
    """A mistake of the caller's, said in one sentence."""
