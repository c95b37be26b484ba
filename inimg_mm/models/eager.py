"""Whether a part may be computed in another way than by calling its modules one after the other.

A faster form gives the same numbers from a part's weights, without its intermediate maps. Whoever looks
at those maps, or rewrites the operations as they run, must find the plain form.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.module import _has_any_global_hook

is_compiling: Callable[[], bool] = getattr(torch.compiler, 'is_compiling', lambda: False)
"""torch's, which 2.1 does not have."""

_PLAIN = (Tensor, nn.Parameter)
HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')
"""Where a module holds its hooks."""


def is_eager(*tensors: Tensor | None) -> bool:
    """Whether operations on these tensors run at once and as they are written.

    Not so while something compiles, exports or traces, inside a functorch transform or a dispatch mode
    (fake tensors, counters of operations), in forward-mode differentiation, and for subclasses of tensors.
    """
    return (
        all(tensor is None or type(tensor) in _PLAIN for tensor in tensors)
        and not is_compiling()
        and not torch.jit.is_tracing()
        and torch._C._functorch.peek_interpreter_stack() is None
        and not torch._C._len_torch_dispatch_stack()
        and forward_ad._current_level < 0
    )


def autocast_dtype(kind: str) -> torch.dtype | None:
    """The precision that operations on ``'cpu'`` or ``'cuda'`` choose by themselves, if any."""
    if hasattr(torch, 'get_autocast_dtype'):
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    if kind == 'cpu':  # before torch 2.4
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def is_untouched(*modules: nn.Module) -> bool:
    """Whether nothing but their own ``forward`` sees or changes what these modules compute.

    Not so where one has a hook (a global one counts for all), a parametrization, a ``forward`` that somebody
    put on it, or a weight that is a subclass of tensors.
    """
    return not _has_any_global_hook() and all(map(_is_untouched, modules))


def _is_untouched(module: nn.Module) -> bool:
    return (
        not any(getattr(module, hooks) for hooks in HOOKS)
        and 'parametrizations' not in module._modules
        and 'forward' not in module.__dict__
        and all(weight is None or type(weight) in _PLAIN for weight in module._parameters.values())
    )
