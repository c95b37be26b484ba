"""Compile the training step (``--compile``)."""

import platform

import torch
from mmengine.config import Config
from mmengine.device import get_device

from inimg_mm.errors import UsageError


def use_compiler(cfg: Config, backend: str | None = None) -> None:
    """Compile the training step.

    Args:
        cfg: Changed in place; its ``compile`` may hold further arguments of ``torch.compile``.
        backend: A backend of ``torch.compile``. Default: the config's, or torch's own ('inductor').

    Raises:
        UsageError: If that cannot work, and why.
    """
    settings = cfg.compile if isinstance(cfg.get('compile'), dict) else {}
    backend = backend or settings.get('backend', 'inductor')
    check_compiler(backend)
    cfg.compile = {**settings, 'backend': backend}


def check_compiler(backend: str) -> None:
    """Raise a :class:`UsageError` if ``torch.compile`` cannot work here with a backend, and why."""
    try:
        torch._dynamo.eval_frame.check_if_dynamo_supported()
    except RuntimeError as error:
        raise UsageError(
            f'--compile does not work with torch {torch.__version__} on Python {platform.python_version()}: '
            f'{error}'
        ) from error
    backends = torch._dynamo.list_backends(exclude_tags=())
    if backend not in backends:
        raise UsageError(f'--compile has no backend {backend!r}; choose from {backends}')
    if backend == 'inductor':
        _check_inductor()


def _check_inductor() -> None:
    """Look for what torch's own compiler writes code for: a C++ compiler on a CPU, Triton on a GPU."""
    if get_device() == 'cpu':
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            get_cpp_compiler()
        except InvalidCxxCompiler as error:
            raise UsageError(
                '--compile needs a C++ compiler on a CPU, and there is none (CXX names one); '
                '--compile aot_eager needs none, and is no faster'
            ) from error
    elif get_device() == 'cuda':
        from torch.utils._triton import has_triton

        if not has_triton():
            raise UsageError(
                '--compile needs Triton and a GPU of compute capability 7.0 or more, '
                'which are not both here; --compile cudagraphs does without'
            )
