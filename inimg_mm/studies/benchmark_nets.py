"""The nets of a benchmark by their names: the zoo's, and other projects', all with random weights.

``seresnet50`` is the zoo's. Others have the name of their project before a colon:

* ``torchvision:resnet50``, ``timm:seresnet50``, ``pytorchcv:scnet50``;
* ``mmdet:ResNet-50``, ``mmpretrain:SEResNet-50``, ``mmpose:SCNet-50``, ``mmseg:ResNetV1c-50``: a backbone of
  a host, and its depth if it has one;
* ``file:PATH.py:CALLABLE``: what a function or class of a user's file gives.

A backbone gives the maps of its last four stages, without a classifier; another project's net that has no
stages to be told by their names stays whole, and gives what it gives.
"""

import importlib
import re
import runpy
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.registry import DefaultScope
from torch import Tensor, nn

from inimg_mm import zoo
from inimg_mm.errors import UsageError
from inimg_mm.host_facts import HOSTS
from inimg_mm.models.fused import Fused

STAGE = re.compile(r'(layer|stage)\d+')
"""What a stage is called in a net of torchvision or pytorchcv."""
ENDINGS = ('avgpool', 'final_pool')
"""What follows the last stage there."""


def is_of_the_zoo(name: str) -> bool:
    """Whether a name is one of this project's."""
    return ':' not in name


def build_net(name: str, base_channels: int | None = None, fused: Fused = False) -> nn.Module:
    """Build a net with random weights; nothing is fetched.

    Args:
        name: See the module's description.
        base_channels: The width of a zoo model; None for its own.
        fused: The ``fused`` of a zoo model; another project's has none.

    Raises:
        UsageError: If there is no such net, its project is not installed, it cannot be built, or it is not
            the zoo's and a width is asked for.
    """
    if is_of_the_zoo(name):
        options: dict[str, Any] = {} if base_channels is None else dict(base_channels=base_channels)
        if fused is not False:
            options['fused'] = fused
        return zoo.build(name, **options)
    if base_channels is not None:
        raise UsageError(f'--widths are the base channels of zoo models, and {name} is not of the zoo')
    source, _, rest = name.partition(':')
    if source in HOSTS:
        return _of_host(source, rest)
    if source not in SOURCES:
        raise UsageError(f'there is no {source!r} in {name}; choose from {[*SOURCES, *HOSTS]}')
    return SOURCES[source](rest)


class StageMaps(nn.Module):
    """A classifier's stages, which run one after the other, without what follows them.

    Args:
        net: Its children are run in order up to the pooling; those called as in :data:`STAGE` are stages.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        for name, child in net.named_children():
            if name in ENDINGS:
                break
            self.add_module(name, child)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map an image (N, 3, H, W) to the stages' maps."""
        maps: list[Tensor] = []
        for name, child in self.named_children():
            x = child(x)
            if STAGE.fullmatch(name):
                maps.append(x)
            elif maps:  # the norm and ReLU that end a pre-activation net
                maps[-1] = x
        return maps


def _of_torchvision(name: str) -> nn.Module:
    torchvision = _imported('torchvision', 'mm')
    _check_name('torchvision', name, torchvision.models.list_models())
    net = _built(f'torchvision:{name}', lambda: torchvision.models.get_model(name, weights=None))
    return StageMaps(net) if isinstance(net, torchvision.models.ResNet) else net


def _of_timm(name: str) -> nn.Module:
    timm = _imported('timm', 'bench')
    _check_name('timm', name, timm.list_models())
    options = dict(features_only=True, out_indices=(-4, -3, -2, -1))
    return _built(f'timm:{name}', lambda: timm.create_model(name, pretrained=False, **options))


def _of_pytorchcv(name: str) -> nn.Module:
    provider = _imported('pytorchcv.model_provider', 'bench')
    _check_name('pytorchcv', name, provider._models)
    net = _built(f'pytorchcv:{name}', lambda: provider.get_model(name, pretrained=False))
    features = getattr(net, 'features', nn.Module())
    staged = any(STAGE.fullmatch(child) for child, _ in features.named_children())
    return StageMaps(features) if staged else net


def _of_file(address: str) -> nn.Module:
    path, _, name = address.rpartition(':')
    if not path.endswith('.py') or not name:
        raise UsageError(f'a net of a file is file:PATH.py:CALLABLE, got file:{address}')
    if not Path(path).is_file():
        raise UsageError(f'there is no file {path}')
    found = _built(f'file:{address}', lambda: runpy.run_path(path))
    _check_name(path, name, (key for key, value in found.items() if callable(value) and key[0] != '_'))
    return _built(f'file:{address}', found[name])


SOURCES: dict[str, Callable[[str], nn.Module]] = {
    'torchvision': _of_torchvision,
    'timm': _of_timm,
    'pytorchcv': _of_pytorchcv,
    'file': _of_file,
}
"""What builds a net, by what stands before the colon; hosts aside."""


def _of_host(scope: str, name: str) -> nn.Module:
    kind, _, depth = name.partition('-')
    registry = _imported(f'{scope}.registry', HOSTS[scope].extra).MODELS
    registry.import_from_location()
    _check_name(scope, kind, registry.module_dict)
    cfg: dict[str, Any] = dict(type=kind)
    if depth:
        if not depth.isdecimal():
            raise UsageError(f'{scope}:{name} is {scope}:TYPE-DEPTH, and {depth!r} is no depth')
        cfg['depth'] = int(depth)
        if HOSTS[scope].returns_last_map:
            cfg['out_indices'] = (0, 1, 2, 3)
    with DefaultScope.overwrite_default_scope(scope):
        return _built(f'{scope}:{name}', lambda: registry.build(cfg))


def _imported(module: str, extra: str) -> Any:
    """A module of another project.

    Raises:
        UsageError: If it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition('.')[0]
        raise UsageError(
            f"{package} cannot be imported: pip install 'inimg-mm[{extra}]' ({error})"
        ) from error


def _built(name: str, build: Callable[[], Any]) -> Any:
    """What ``build`` gives.

    Raises:
        UsageError: If it raises anything: the project's own words are told.
    """
    try:
        return build()
    except Exception as error:
        text = ' '.join(str(error).split())
        raise UsageError(f'{name} cannot be built: {type(error).__name__}: {text}') from error


def _check_name(source: str, name: str, names: Iterable[str]) -> None:
    """Check that a project has a net of some name.

    Raises:
        UsageError: If not; the nearest names are told, or some.
    """
    by_lower = {each.lower(): each for each in names}
    if name in by_lower.values():
        return
    near = [by_lower[each] for each in get_close_matches(name.lower(), by_lower, n=5)]
    told = f'near it: {", ".join(near)}' if near else f'it has {", ".join(sorted(by_lower.values())[:20])}'
    raise UsageError(f'{source} has no {name!r}; {told}')
