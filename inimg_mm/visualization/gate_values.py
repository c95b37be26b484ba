"""What a model's gates give on its own test images, and how that changes with depth."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from inimg_mm.errors import UsageError
from inimg_mm.inference.weights import load_model
from inimg_mm.models.attention import Gate

from .samples import TestSet

LOW, HIGH = 0.05, 0.95
"""A gate below or above is saturated."""
ALL = 'all classes'


class Net(NamedTuple):
    """The gates of a net.

    Attributes:
        name: Of its config.
        kinds: Class of each gate, by the name of its block, in order of depth.
        values: What each gate gave, (images, channels).
        groups: Which of the images belong to a class, by its name; :data:`ALL` are drawn from all.
    """

    name: str
    kinds: dict[str, str]
    values: dict[str, np.ndarray]
    groups: dict[str, np.ndarray]

    def last_of_stages(self) -> dict[str, str]:
        """The last gated block of each stage."""
        return {stage_of(block): block for block in self.values}


class Depth(NamedTuple):
    """A gate's figures over the images that are drawn from all.

    Attributes:
        mean: Over images and channels.
        spread: Standard deviation over the images, mean over the channels.
        oscillation: Mean of |g(c+1) - g(c)| over neighbouring channels and images.
        saturated: Share of values below :data:`LOW` or above :data:`HIGH`.
    """

    mean: float
    spread: float
    oscillation: float
    saturated: float


def figures(values: np.ndarray) -> Depth:
    """Compute a gate's figures from its values, (images, channels)."""
    steps = np.abs(np.diff(values, axis=1))
    return Depth(
        mean=float(values.mean()),
        spread=float(values.std(axis=0).mean()),
        oscillation=float(steps.mean()) if steps.size else 0.0,
        saturated=float(((values < LOW) | (values > HIGH)).mean()),
    )


def stage_of(block: str) -> str:
    """The stage of a block: 'layer3' of 'layer3.5', 'Mixed_5' of 'Mixed_5b'."""
    found = re.match(r'.*?\d+', block)
    return found[0] if found else block


@contextmanager
def recorded(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Keep what a model's gates give for as long as the context lasts; outputs are what they are without.

    Yields:
        By the name of the gate's block, what each call gave: (N, channels), on the CPU.
    """
    found: dict[str, list[Tensor]] = {}
    gates = {name: module for name, module in model.named_modules() if isinstance(module, Gate)}
    handles = []
    for name, gate in gates.items():
        calls = found[block_of(name)] = []
        gate.excite = _keeping(gate, calls)  # type: ignore[method-assign]
        # what is hooked is computed step by step, and not by a fused kernel
        handles.append(gate.register_forward_hook(lambda module, args, output: None))
    try:
        yield found
    finally:
        for gate, handle in zip(gates.values(), handles, strict=True):
            del gate.excite
            handle.remove()


def block_of(gate: str) -> str:
    """Name of the block that holds a gate, without the backbone's."""
    return gate.rpartition('.')[0].removeprefix('backbone.')


def _keeping(gate: Gate, calls: list[Tensor]) -> Any:
    excite = gate.excite

    def keep(*means: Tensor) -> Tensor:
        weights = excite(*means)
        calls.append(weights.detach().float().flatten(1).cpu())
        return weights

    return keep


def gate_values(
    cfg: Config,
    checkpoint: str,
    name: str,
    classes: int = 4,
    images: int = 50,
    overall: int = 200,
    seed: int = 0,
    trust: bool = False,
) -> Net:
    """Run a model on images of its own test set, and keep what its gates give.

    Args:
        cfg: Config of any host, also of a detector.
        checkpoint: Weights of its model.
        name: What the net is called.
        classes: How many classes are drawn of those that the images have. The class of an image with several
            objects is that of the largest; models that know no classes are shown all images alone.
        images: At most so many images of each.
        overall: At most so many images for the mean of all.
        seed: Of what is drawn.
        trust: Accept a checkpoint that needs unpickling.

    Raises:
        UsageError: If a number is not positive, the model has no gates, the checkpoint is of another model,
            or the data is missing.
        CheckpointError: If the checkpoint is missing, damaged, or would run code.
    """
    if min(classes, images, overall) < 1:
        raise UsageError(f'there must be at least one class and image, got {classes}, {images}, {overall}')
    model = load_model(cfg, checkpoint, trust)
    kinds = {
        block_of(key): type(module).__name__
        for key, module in model.named_modules()
        if isinstance(module, Gate)
    }
    if not kinds:
        raise UsageError(f'the model of {name} has no gates: its backbone needs attention=dict(type=…)')
    tests = TestSet(cfg)
    groups = _draw(tests, classes, images, overall, np.random.default_rng(seed))
    chosen = sorted({int(index) for group in groups.values() for index in group})
    rows: dict[str, list[np.ndarray]] = {block: [] for block in kinds}
    with torch.no_grad(), recorded(model) as found:
        for index in track(chosen, name, console=Console(stderr=True)):
            model.test_step(tests.batch([index]))
            for block, calls in found.items():
                if calls:  # of an image that is seen twice, as under a flip, the mean
                    rows[block].append(torch.cat(calls).mean(0).numpy())
                calls.clear()
    places = {index: place for place, index in enumerate(chosen)}
    return Net(
        name,
        kinds,
        {block: np.stack(values) for block, values in rows.items() if values},
        {group: np.array([places[int(index)] for index in indices]) for group, indices in groups.items()},
    )


def _draw(
    tests: TestSet, classes: int, images: int, overall: int, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Indices of samples by class, and those of all."""
    groups = {}
    labels = tests.labels()
    if labels is not None:
        present = np.unique(labels[labels >= 0])
        for label in np.sort(random.permutation(present)[:classes]):
            groups[tests.names[label]] = random.permutation(np.flatnonzero(labels == label))[:images]
    groups[ALL] = random.permutation(len(tests))[:overall]
    return groups


# ---- what the paper claims ------------------------------------------------------------------------------


def claims(nets: Sequence[Net]) -> list[str]:
    """Two claims of the Inner-Imaging paper (arXiv 1904.12639), each with what was found in these nets."""
    return [*map(_oscillation_claim, nets), *_level_claim(nets)]


def rank_correlation(values: Sequence[float]) -> float:
    """Spearman's correlation of values with their places: 1 where they only rise, -1 where they only fall.

    Equal values share their mean rank. NaN where there are fewer than two, or all are equal.
    """
    array = np.asarray(values, dtype=float)
    ranks = np.array([((array < value).sum() + (array <= value).sum() - 1) / 2 for value in array])
    if len(array) < 2 or np.ptp(ranks) == 0:
        return float('nan')
    return float(np.corrcoef(np.arange(len(array)), ranks)[0, 1])


def over_all(net: Net, block: str) -> np.ndarray:
    """A gate's values on the images that are drawn from all, (images, channels)."""
    return net.values[block][net.groups[ALL]]


def _oscillation_claim(net: Net) -> str:
    steps = [figures(over_all(net, block)).oscillation for block in net.values]
    rho = rank_correlation(steps)
    found = 'no trend' if not abs(rho) >= 0.5 else 'it does' if rho > 0 else 'the opposite'
    return (
        f'{net.name} ({", ".join(sorted(set(net.kinds.values())))}): '
        '"the deeper, the more the gates oscillate": '
        f'{found}: {steps[0]:.4f} in the first of {len(steps)} blocks, {steps[-1]:.4f} in the last, '
        f"Spearman's rank correlation {rho:.2f}"
    )


def _level_claim(nets: Sequence[Net]) -> Iterator[str]:
    claim = '"in the deepest layers inner-imaging gates lie below SE\'s"'
    plain = [net for net in nets if _is_se(net)]
    others = [net for net in nets if not _is_se(net)]
    if not plain or not others:
        yield f'{claim}: not to be seen: that needs a net with SE gates and one with others'
        return
    for net in others:
        for se in plain:
            (block, mean), (se_block, se_mean) = (_deepest(each) for each in (net, se))
            found = 'they do' if mean < se_mean else 'they do not'
            levels = f'{mean:.4f} in {block} of {net.name}, {se_mean:.4f} in {se_block} of {se.name}'
            yield f'{claim}: {found}: {levels}'


def _is_se(net: Net) -> bool:
    return all(kind.startswith('SE') for kind in net.kinds.values())


def _deepest(net: Net) -> tuple[str, float]:
    block = list(net.values)[-1]
    return block, float(over_all(net, block).mean())
