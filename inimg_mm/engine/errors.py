"""The mistakes that a command line or a config can make."""


class UsageError(ValueError):
    """A mistake of the caller's, said in one sentence."""


def raised_here(error: BaseException) -> bool:
    """Whether a module of this package raised an error, and not one that it calls."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get('__name__', '').startswith('inimg_mm.')
