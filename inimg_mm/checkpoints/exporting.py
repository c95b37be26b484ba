"""Files out of checkpoints: in other projects' names, and small ones for others to use."""

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inimg_mm.errors import CheckpointError
from inimg_mm.output_files import replacing

from . import layouts
from .fitting import grouped
from .reading import BACKBONE, Opened, StateDict, open_checkpoint, without_wrappers

CLASSIFIER = 'head.fc.'
"""The classifier in a whole model of mmpretrain, whose backbone is named ``backbone.*``."""

WHOLE_WITH_CLASSIFIER = ('mmpretrain', layouts.OURS)
"""Layouts in which a backbone with a classifier is a whole model, as mmpretrain builds and tests it."""


def split(model: StateDict) -> tuple[StateDict, StateDict, StateDict]:
    """Part a model's tensors into those of its backbone, without prefix, of a classifier, and of the rest."""
    heads = tuple(f'{name}.' for name in (*layouts.CLASSIFIERS, *layouts.AUXILIARIES))
    classifier = {name: value for name, value in model.items() if name.startswith(heads)}
    rest = {name: value for name, value in model.items() if name not in classifier}
    inside = [name for name in rest if name.startswith(BACKBONE)]
    if not inside:
        return rest, classifier, {}
    backbone = {name.removeprefix(BACKBONE): rest.pop(name) for name in inside}
    return without_wrappers(backbone), classifier, rest


def convert(
    source: str | Path,
    target: str | Path,
    to: str,
    layout: str = 'auto',
    backbone_only: bool = False,
    trust: bool = False,
    force: bool = False,
) -> str:
    """Write a checkpoint in another project's names.

    A whole model of a host stays one where the other project is a host or ours: its backbone's names
    change, those of its other parts are its host's. Elsewhere the backbone goes, and a classifier with it.

    Args:
        source: Path or URL, see :func:`.read_state_dict`.
        target: File to write, ``.safetensors`` or any other for torch's format.
        to: A key of :data:`.LAYOUTS`; 'mmpose' is 'mmpose_scnet' for an SCNet's weights. A backbone with a
            classifier becomes a whole model in 'mmpretrain' and 'inimg_mm': ``backbone.*``, ``head.fc.*``.
        layout: Whose names the source has; 'auto' detects it.
        backbone_only: Leave all but the backbone out.
        trust: Unpickle whatever is in the source.
        force: Overwrite the target.

    Returns:
        What was written, in one line.

    Raises:
        CheckpointError: If the source cannot be read or holds no backbone that this package knows, or
            the target exists or cannot be written.
        UsageError: If a layout is unknown, or has no place for a tensor.
    """
    wanted, path = layouts.get(to), _checked(target, force)
    opened = open_checkpoint(source, trust)
    model = opened.part('')
    backbone, classifier, rest = split(model)
    layout = layouts.detect(backbone) if layout == 'auto' else layouts.get(layout).name
    native = layouts.to_native(backbone, layout)
    if not any(re.match(layouts.IN_EVERY_BACKBONE, name) for name in native):
        tops = sorted({name.split('.')[0] for name in native})
        raise CheckpointError(f'{source} holds no backbone known here; its names start with {tops}')
    place = layouts.place(native, to)
    is_model = any(name.startswith(BACKBONE) for name in model)
    left: StateDict = {**classifier, **rest} if backbone_only else {}
    moves_classifier = bool(classifier) and layouts.is_inception(native)
    if is_model and wanted.holds_models and not backbone_only and not moves_classifier:
        state = _inside(layouts.from_native(native, place.name)) | classifier | rest
    else:
        fc = {} if backbone_only else layouts.to_native(classifier, layout)
        homeless = {name: fc.pop(name) for name in layouts.without_place(fc, place)}
        state, left = layouts.from_native({**native, **fc}, place.name), left or homeless | rest
        if fc and to in WHOLE_WITH_CLASSIFIER:
            state = _whole(state, place)
    meta = _names_of_classes(opened) if is_model and path.suffix != '.safetensors' else {}
    _write(_serialised(dict(state_dict=state, meta=meta) if meta else state, path.suffix), path)
    parts = [f'{path}: {len(state)} tensors, from {layout} to {place.name} names']
    homes = None if backbone_only else layouts.with_place_for(native)
    parts += [_left_out(left, to, homes)] if left else []
    notes = (layouts.get(layout).note, place.note, layouts.no_such_net(native, place))
    return '; '.join([*parts, *(note for note in dict.fromkeys(notes) if note)])


def _inside(backbone: StateDict) -> StateDict:
    """A backbone's weights as a whole model names them."""
    return {BACKBONE + name: value for name, value in backbone.items()}


def _whole(state: StateDict, place: layouts.Layout) -> StateDict:
    """The weights of a backbone and its classifiers as a whole model names them."""
    if layouts.is_inception(state) and place.name == 'mmpretrain':
        return _inside(state)  # its Inception-v3 holds its classifiers itself
    auxiliary = f'{layouts.AUXILIARY}.'
    heads = {f'{place.classifier}.': CLASSIFIER, auxiliary: f'head.{auxiliary}'}
    parted = {name: next(filter(name.startswith, heads), '') for name in state}
    backbone = {name: value for name, value in state.items() if not parted[name]}
    return _inside(backbone) | {
        heads[head] + name.removeprefix(head): state[name] for name, head in parted.items() if head
    }


def _left_out(left: StateDict, to: str, homes: list[str] | None) -> str:
    """What was left out; if not by wish, also which of the layouts with a place for the backbone keep it."""
    text = f'left out: {grouped(left)}'
    if homes is None:
        return text
    holding = [name for name in homes if layouts.get(name).holds_models]
    return f'{text}, for which {to} has no place; a whole model stays one with --to {", ".join(holding)}'


def publish(source: str | Path, target: str | Path, trust: bool = False, force: bool = False) -> Path:
    """Write the weights of a training checkpoint alone: no optimiser, no averaged copy, no logs.

    Beside the tensors a file in torch's format keeps the names of the classes that the hosts draw with.

    Args:
        source: Path or URL of the checkpoint.
        target: File to write; before its suffix come the first 8 digits of its SHA-256.
        trust: Unpickle whatever is in the source.
        force: Overwrite a file of that name.

    Returns:
        The file.

    Raises:
        CheckpointError: If the source cannot be read, or the file exists or cannot be written.
    """
    target = Path(target)
    if target.is_dir():
        raise CheckpointError(f'{target} is a folder')
    opened = open_checkpoint(source, trust)
    suffix = target.suffix or '.pth'
    written: dict[str, Any] = opened.state
    if suffix != '.safetensors':
        written = dict(state_dict=opened.state, meta=_names_of_classes(opened))
    data = _serialised(written, suffix)
    stem = re.sub(r'-[0-9a-f]{8}$', '', target.stem)
    path = target.with_name(f'{stem}-{hashlib.sha256(data).hexdigest()[:8]}{suffix}')
    _write(data, _checked(path, force))
    return path


def _names_of_classes(opened: Opened) -> dict[str, Any]:
    """What a host's checkpoint says of the classes, if every reader can read it."""
    names = opened.meta.get('dataset_meta')
    return dict(dataset_meta=names) if names is not None and _is_plain(names) else {}


def _is_plain(value: Any) -> bool:
    """Whether a value is made of text, numbers and containers, which every reader reads without code."""
    if isinstance(value, Mapping):
        return all(_is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


def _checked(target: str | Path, force: bool) -> Path:
    """The target, if it may be written."""
    path = Path(target)
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder')
    if path.exists() and not path.is_file():
        raise CheckpointError(f'{path} is a device or the like, and a file is to be written there')
    if path.exists() and not force:
        raise CheckpointError(f'{path} is there already; --force overwrites it')
    if not path.parent.is_dir():
        raise CheckpointError(f'there is no folder {path.parent}')
    return path


def _serialised(content: Any, suffix: str) -> bytes:
    """A file's bytes, the same for the same content."""
    if suffix == '.safetensors':
        from safetensors.torch import save

        return save({name: value.detach().clone().contiguous() for name, value in content.items()})
    buffer = io.BytesIO()
    torch.save(_detached(content), buffer)
    return buffer.getvalue()


def _detached(content: Any) -> Any:
    """The same containers with plain tensors that own no more memory than they show."""
    if isinstance(content, Mapping):
        return {key: _detached(value) for key, value in content.items()}
    if not isinstance(content, Tensor):
        return content
    value = content.detach()
    return value if value.untyped_storage().nbytes() == value.nbytes else value.clone()


def _write(data: bytes, path: Path) -> None:
    """Write beside the target, then rename: the target is whole, or as it was."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise CheckpointError(f'cannot write {path}: {error.strerror or error}') from error
