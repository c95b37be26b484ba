"""Safe reading: tensors out of a file, never code."""

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version
from torch import Tensor

from inimg_mm.data_files.foreign_files import what_it_is
from inimg_mm.errors import CheckpointError, RefusedError

from .addresses import first_line, local_file

StateDict = dict[str, Tensor]

WRAPPERS = (
    'state_dict', 'model_state_dict', 'model', 'model_ema', 'state_dict_ema', 'ema_state_dict', 'module'
)  # fmt: skip
"""Keys under which a file may hold the state dict, in the order in which they are tried."""
LAUNCHED = 'module.'
"""What launchers put before every name."""
COMPILED = '_orig_mod.'
"""What compilers put before the names of the modules that they compiled."""
AVERAGES = {'n_averaged', 'steps'}
"""How many models torch's and mmengine's averaged models are of, which stands beside their weights."""
BACKBONE = 'backbone.'


def read_file(path: str | Path, trust: bool = False) -> Any:
    """Read a ``.pth`` or ``.safetensors`` file on the CPU.

    Tensors, containers and plain values are read, and the log buffers of mmengine's own
    checkpoints; anything else would need unpickling, which runs code of the file's author.

    Args:
        path: The file.
        trust: Unpickle whatever is in the file.

    Raises:
        RefusedError: If it needs unpickling.
        CheckpointError: If it is missing, truncated, or no checkpoint.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder, not a checkpoint')
    try:
        with path.open('rb') as file:
            head = file.read(1)
    except FileNotFoundError:
        raise CheckpointError(f'there is no checkpoint {path}') from None
    except OSError as error:
        raise CheckpointError(f'cannot read {path}: {error.strerror or error}') from error
    if not head:
        raise CheckpointError(f'{path} is empty')
    if kind := what_it_is(path):
        raise CheckpointError(f'{path} is {kind.what}, not a checkpoint: {kind.remedy}')
    if path.suffix == '.safetensors':
        return _read_safetensors(path)
    try:
        with _log_buffers_allowed():
            return torch.load(path, map_location='cpu', weights_only=not trust)
    except UnpicklingError as error:
        blocked = re.search(r"(?:GLOBAL |function |allowlisted via .* got <class ')([\w.]+)", str(error))
        if blocked and not trust and not _ends_in_name(path, blocked[1]):
            raise RefusedError(
                f'{path} is refused: it holds more than tensors ({blocked[1]}), and reading that runs code '
                "which the file's author chose. If you know who made it, --trust (in a config: trust=True) "
                'reads it all the same'
            ) from None
        raise CheckpointError(
            f'{path} is truncated, damaged, or no checkpoint that torch can read'
        ) from error
    except Exception as error:  # bytes that are no pickle raise anything
        reason = first_line(error)
        raise CheckpointError(f'{path} is truncated, damaged, or no checkpoint: {reason}') from error


@dataclass(frozen=True)
class Opened:
    """A checkpoint that was read safely: checks look at it before a host loads the file, which unpickles.

    Attributes:
        source: Path or URL.
        content: Everything in the file; None of a folder, whose files are read and let go one by one.
    """

    source: str
    content: Any

    @property
    def in_parts(self) -> bool:
        """Whether it is a folder, as sharding strategies write it."""
        return self.content is None

    @cached_property
    def state(self) -> StateDict:
        """The weights of the model, see :func:`unwrap`.

        Raises:
            CheckpointError: If there are none.
        """
        state = unwrap(self.content)
        if not state:
            keys = list(self.content)[:9] if isinstance(self.content, Mapping) else []
            places = f', alone or under {", ".join(WRAPPERS)}; its keys are {keys}' if keys else ''
            raise CheckpointError(f'{self.source} holds no tensors{places}')
        return state

    @property
    def meta(self) -> Mapping[str, Any]:
        """What mmengine stores beside the weights: the config, the data set's classes; empty without."""
        meta = self.content.get('meta') if isinstance(self.content, Mapping) else None
        return meta if isinstance(meta, Mapping) else {}

    def part(self, prefix: str | None = None) -> StateDict:
        """The weights of a part, see :func:`read_state_dict`."""
        if prefix is None:
            prefix = BACKBONE if any(name.startswith(BACKBONE) for name in self.state) else ''
        if prefix and not prefix.endswith('.'):
            prefix += '.'
        selected = under(self.state, prefix)
        if not selected:
            tops = sorted({name.split('.')[0] for name in self.state})
            raise CheckpointError(
                f'{self.source} has no tensor under prefix {prefix!r}; its names start with {tops}'
            )
        return without_wrappers(selected)


def open_checkpoint(source: str | Path, trust: bool = False) -> Opened:
    """Read a checkpoint.

    Args:
        source: File or URL, see :func:`read_state_dict`, or the folder that DeepSpeed writes.
        trust: See :func:`read_file`.

    Raises:
        CheckpointError: If it is missing, damaged, or would run code.
    """
    with local_file(str(source)) as path:
        if not path.is_dir():
            return Opened(str(source), read_file(path, trust))
        parts = sorted(part for part in path.rglob('*') if part.suffix in ('.pt', '.pth'))
        if not parts:
            raise CheckpointError(f'{path} is a folder without the .pt or .pth files of a checkpoint')
        for part in parts:
            read_file(part, trust)
    return Opened(str(source), None)


def read_state_dict(source: str | Path, prefix: str | None = None, trust: bool = False) -> StateDict:
    """Read the weights of a model or of its backbone.

    Args:
        source: Path or URL: http(s), ``torchvision://resnet50``, ``open-mmlab://…``,
            ``mmcls://…``, and what mmengine's file backends read.
        prefix: Keep the names of this part alone, without it, e.g. 'backbone' or 'backbone.'.
            Default: 'backbone.' where any name has it, else none. The prefixes of wrappers are
            always removed.
        trust: See :func:`read_file`.

    Returns:
        Tensors on the CPU by name.

    Raises:
        CheckpointError: If the file cannot be read, or holds no tensors (under ``prefix``).
    """
    with local_file(str(source)) as path:
        return Opened(str(source), read_file(path, trust)).part(prefix)


def under(state: StateDict, prefix: str) -> StateDict:
    """The tensors whose names start with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def unwrap(content: Any) -> StateDict:
    """The state dict in a file's content, without wrappers and their prefixes; empty if there is none."""
    for _ in WRAPPERS:  # no deeper: a mapping can hold itself
        if not isinstance(content, Mapping):
            break
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
            return without_wrappers({name: tensors[name] for name in tensors if isinstance(name, str)})
        content = inner[0]
    return {}


def without_wrappers(state: StateDict) -> StateDict:
    """The same tensors without what launchers, compilers and averaged models put before their names."""
    state = {name.replace(COMPILED, ''): value for name, value in state.items()}
    while (names := state.keys() - AVERAGES) and all(name.startswith(LAUNCHED) for name in names):
        state = {name.removeprefix(LAUNCHED): value for name, value in state.items() if name in names}
    return state


def _read_safetensors(path: Path) -> StateDict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f'{path} is truncated, damaged, or no safetensors file: {error}') from error


def _log_buffers_allowed() -> AbstractContextManager:
    """Allow what log buffers and arrays in mmengine's checkpoints are made of, and nothing that runs code."""
    if digit_version(torch.__version__) < digit_version('2.6'):
        return nullcontext()
    core = np._core if hasattr(np, '_core') else np.core
    functions = [(core.multiarray._reconstruct, '_reconstruct'), (core.multiarray.scalar, 'scalar')]
    kinds = np.typecodes['AllInteger'] + np.typecodes['AllFloat'] + '?'
    return torch.serialization.safe_globals(
        [
            HistoryBuffer,
            bytes,  # of an array without values
            (_log_buffer_method, 'builtins.getattr'),
            np.ndarray,
            np.dtype,
            # NumPy 2 and NumPy 1 name them differently
            *((f, f'numpy.{home}.multiarray.{name}') for f, name in functions for home in ('_core', 'core')),
            *{type(np.dtype(kind)) for kind in kinds},
        ]
    )


def _log_buffer_method(owner: type, name: str) -> Any:
    """The one use of ``getattr`` in a log buffer: its statistics by name."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise UnpicklingError(f'Unsupported function getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def _ends_in_name(path: Path, name: str) -> bool:
    """Whether a file in torch's older format is cut off in a name, of which torch lost the last letter."""
    module, _, attribute = (re.escape(part.encode()) for part in name.rpartition('.'))
    with path.open('rb') as file:
        file.seek(max(path.stat().st_size - len(name) - 4, 0))
        end = file.read()
    return bool(re.search(rb'c%b.?(\n%b.?)?\Z' % (module, attribute), end))
