"""Safe reading: tensors out of a file, never code."""

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import get_local_path
from mmengine.logging import HistoryBuffer
from torch import Tensor

StateDict = dict[str, Tensor]

WRAPPERS = ('state_dict', 'model_state_dict', 'model', 'model_ema', 'module')
"""Keys under which a file may hold the state dict, in the order in which they are tried."""
PREFIXES = ('module.', '_orig_mod.')
"""Prefixes that launchers and compilers add to every name."""
BACKBONE = 'backbone.'


class CheckpointError(ValueError):
    """A file that cannot be read or does not fit; the message is for the user."""


def read_file(path: str | Path, trust: bool = False) -> Any:
    """Read a ``.pth`` or ``.safetensors`` file on the CPU.

    Tensors, containers and plain values are read, and the log buffers of mmengine's own
    checkpoints; anything else would need unpickling, which runs code of the file's author.

    Args:
        path: The file.
        trust: Unpickle whatever is in the file.

    Raises:
        CheckpointError: If the file is missing, truncated, no checkpoint, or needs unpickling.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'there is no checkpoint {path}')
    with path.open('rb') as file:
        head = file.read(512)
    if not head:
        raise CheckpointError(f'{path} is empty')
    if re.match(rb'\s*<(!doctype|html|\?xml)', head, re.IGNORECASE):
        raise CheckpointError(f'{path} is a web page, not a checkpoint: the download went wrong')
    if path.suffix == '.safetensors':
        return _read_safetensors(path)
    try:
        with torch.serialization.safe_globals(_log_buffer_globals()):
            return torch.load(path, map_location='cpu', weights_only=not trust)
    except UnpicklingError as error:
        blocked = re.search(r'(?:GLOBAL|function) ([\w.]+)', str(error))
        if blocked and not trust:
            raise CheckpointError(
                f'{path} is refused: it holds more than tensors ({blocked[1]}), and reading that runs code '
                "which the file's author chose. If you know who made it, --trust reads it all the same"
            ) from None
        raise CheckpointError(f'{path} is no checkpoint that torch can read, or is damaged') from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
    ) as error:
        raise CheckpointError(
            f'{path} is truncated, damaged, or no checkpoint: {_first_line(error)}'
        ) from error


def read_state_dict(source: str, prefix: str | None = None, trust: bool = False) -> StateDict:
    """Read the weights of a model or of its backbone.

    Args:
        source: Path or URL: http(s), ``torchvision://resnet50``, ``open-mmlab://…``, and what
            mmengine's file backends read.
        prefix: Keep the names that start with this, without it. Default: 'backbone.' where
            any name has it, else none. The prefixes of wrappers are always removed.
        trust: See :func:`read_file`.

    Returns:
        Tensors on the CPU by name.

    Raises:
        CheckpointError: If the file cannot be read, or holds no tensors (under ``prefix``).
    """
    with local_file(source) as path:
        content = read_file(path, trust)
    state = unwrap(content)
    if not state:
        raise CheckpointError(f'{source} holds no tensors')
    if prefix is None:
        prefix = BACKBONE if any(name.startswith(BACKBONE) for name in state) else ''
    selected = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if not selected:
        tops = sorted({name.split('.')[0] for name in state})
        raise CheckpointError(f'{source} has no tensor under prefix {prefix!r}; its names start with {tops}')
    return selected


def unwrap(content: Any) -> StateDict:
    """The state dict in a file's content, without wrappers and their prefixes; empty if there is none."""
    while isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            return {}
        content = inner[0]
    if not isinstance(content, Mapping):
        return {}
    state = {
        name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)
    }
    for _ in range(2 * len(PREFIXES)):
        for prefix in PREFIXES:
            if state and all(name.startswith(prefix) for name in state):
                state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def local_file(source: str) -> Any:
    """A context manager that gives the local path of a path or URL, downloading it where needed.

    Raises:
        CheckpointError: If it cannot be had.
    """
    scheme = urlparse(source).scheme
    if scheme in ('', 'file') or len(scheme) == 1 or Path(source).exists():
        return get_local_path(source.removeprefix('file://'), backend_args=dict(backend='local'))
    if scheme in ('http', 'https'):
        return get_local_path(str(_download(source)), backend_args=dict(backend='local'))
    if scheme in NAMED:
        models = NAMED[scheme]()
        name = source.removeprefix(f'{scheme}://')
        if name not in models:
            raise CheckpointError(f'{scheme}:// has no model {name!r}')
        return local_file(models[name])
    return get_local_path(source)


def _torchvision_models() -> dict[str, str]:
    from mmengine.runner.checkpoint import get_torchvision_models

    return get_torchvision_models()


def _open_mmlab_models() -> dict[str, str]:
    from mmengine.runner.checkpoint import get_external_models

    return get_external_models()


NAMED = {
    'torchvision': _torchvision_models,
    'modelzoo': _torchvision_models,
    'open-mmlab': _open_mmlab_models,
    'openmmlab': _open_mmlab_models,
}
"""mmengine's schemes that name a model, and where its URL is looked up."""


def _download(url: str) -> Path:
    """Fetch a URL once into torch's cache; other ranks wait for the first."""
    target = Path(torch.hub.get_dir()) / 'checkpoints' / Path(urlparse(url).path).name
    error: Exception | None = None
    if is_main_process() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(target), progress=True)
        except Exception as problem:
            error = problem
    barrier()
    if error is not None or not target.exists():
        raise CheckpointError(f'cannot download {url}: {error or "the first rank could not"}') from error
    return target


def _read_safetensors(path: Path) -> StateDict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f'{path} is truncated, damaged, or no safetensors file: {error}') from error


def _log_buffer_globals() -> list[Any]:
    """What the log buffers in mmengine's own training checkpoints are made of, and nothing that runs code."""
    numpy_core = np.core if not hasattr(np, '_core') else np._core
    return [
        HistoryBuffer,
        (_log_buffer_method, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
        numpy_core.multiarray._reconstruct,
        numpy_core.multiarray.scalar,
        *{type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.uint32, np.bool_)},
    ]


def _log_buffer_method(owner: type, name: str) -> Any:
    """The one use of ``getattr`` in a log buffer: its statistics by name."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise UnpicklingError(f'Unsupported function getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
