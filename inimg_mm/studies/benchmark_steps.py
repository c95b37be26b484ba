"""One net of a benchmark: what of it is counted, and the step that is timed."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from inimg_mm.models.backbones.block_forms import block_forms
from inimg_mm.zoo.complexity import count

from .benchmark_counts import Kernels, kept_for_backward, kernels_of
from .benchmark_nets import is_of_the_zoo
from .benchmark_settings import DTYPES, Point, Settings

STEPS = {'cpu': 1, 'cuda': 8}
"""Steps of a net in a row in each round, by device; a GPU's are queued, as in a training."""


@dataclass
class Result:
    """What one net costs at one point.

    Attributes:
        name: Of the net.
        point: What it ran on.
        outputs: Shapes of what it gives.
        params: Parameters of what is run.
        flops: Of the forward pass for one image, two for each multiply-add of convolutions and fully
            connected layers.
        kept_bytes: Kept for the backward pass; None where there is none.
        fused_parts: How many of its blocks and stem may take fused forms, and of how many; None without them.
        peak_bytes: The most that a GPU held during a step, over what it held before; None on a CPU.
        kernels: What a GPU runs for a step, by kind; None on a CPU.
        seconds: A step's, by round.
        ratios: The same over the first net's in each round.
    """

    name: str
    point: Point
    outputs: list[tuple[int, ...]]
    params: int
    flops: int
    kept_bytes: int | None = None
    fused_parts: tuple[int, int] | None = None
    peak_bytes: int | None = None
    kernels: dict[str, Kernels] | None = None
    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds of a step."""
        return median(self.seconds)


def prepare(net: nn.Module, name: str, point: Point, settings: Settings) -> tuple[Result, Callable[[], None]]:
    """A net's counts, and its step."""
    net.to(settings.device).to(memory_format=settings.layout)  # type: ignore[call-overload]
    image = torch.randn(point.batch, 3, point.height, point.width, device=settings.device)
    image = image.to(memory_format=settings.layout)
    net.eval()
    size = count(net, lambda: net(image[:1]))
    train = settings.mode == 'train'
    net.train(train)
    if settings.norm_eval:
        for module in net.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
    run: Any = torch.compile(net, backend=settings.compiler) if settings.compiler else net
    forward, step = _steps(run, image, settings)
    with kept_for_backward(net, image) as kept:
        outputs = forward()
    result = Result(name, point, [tuple(each.shape) for each in outputs], size.params, 2 * size.macs)
    del outputs
    if train:
        result.kept_bytes = sum(kept)
    if settings.fused is not False and is_of_the_zoo(name):
        forms = [form for _, form in block_forms(net)]
        result.fused_parts = sum(form.startswith('fused') for form in forms), len(forms)
    step()
    if settings.device == 'cuda':
        result.peak_bytes = _peak(step)
        step = captured(step) if settings.graph else step
        result.kernels = kernels_of(step)
    return result, step


def _steps(
    net: nn.Module, image: Tensor, settings: Settings
) -> tuple[Callable[[], list[Tensor]], Callable[[], None]]:
    """The forward pass, and what is timed."""
    device, dtype = settings.device, DTYPES[settings.dtype]

    def forward() -> list[Tensor]:
        # a graph replays the casts of weights, and not the look into a cache
        autocast = torch.autocast(device, dtype, dtype != torch.float32, cache_enabled=not settings.graph)
        with autocast, torch.inference_mode(settings.mode == 'infer'):
            return list(_tensors(net(image)))

    def step() -> None:
        if settings.mode == 'infer':
            forward()
            return
        torch.stack([each.float().mean() for each in forward()]).sum().backward()
        net.zero_grad(set_to_none=True)

    return forward, step


def _tensors(outputs: Any) -> Iterator[Tensor]:
    """The tensors among what a net gives."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, Mapping):
        yield from _tensors(list(outputs.values()))
    elif isinstance(outputs, Sequence):
        for each in outputs:
            yield from _tensors(each)


def captured(step: Callable[[], None], warm_ups: int = 3) -> Callable[[], None]:
    """A step as one CUDA graph; what it does is done again, on the same memory, at every call."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warm_ups):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _peak(step: Callable[[], None]) -> int:
    """The most bytes that the GPU holds during a step over what it held before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def timed(step: Callable[[], None], device: str, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of a step, the mean of :data:`STEPS` in a row."""
    wait = torch.cuda.synchronize if device == 'cuda' else lambda: None
    wait()
    began = clock()
    for _ in range(STEPS[device]):
        step()
    wait()
    return (clock() - began) / STEPS[device]
