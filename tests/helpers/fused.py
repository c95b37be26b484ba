"""Fused operations beside the formulas that they stand for."""

import copy

import torch
from mmcv.cnn.bricks import DropPath
from torch import nn

from inimg_mm.models import fused
from inimg_mm.models.attention import SE, DoubleFC, InnerImaging

MODES = ['batch', 'running', 'frozen']
LAYOUTS = [torch.contiguous_format, torch.channels_last]


class Ending(nn.Module):
    """A block's end: a norm, a gate, drop path, an add and a ReLU; fused or as torch writes it."""

    def __init__(self, channels, gate=None, projected=False, drop=0.0):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.norm2 = nn.BatchNorm2d(channels) if projected else None
        self.gate = gate
        self.drop = DropPath(drop) if drop else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, y, x):
        parts = self.norm, self.gate, self.drop
        assert fused.tail_fuses(y, x, *parts, self.relu, True)
        return fused.tail(y, x, *parts, self.norm2, True)

    def plain(self, y, x):
        residual = self.norm(y)
        shortcut = x if self.norm2 is None else self.norm2(x)
        kept = self.drop(y.new_ones(len(y), 1, 1, 1, dtype=torch.float32)).to(y.dtype)
        weight = 1 if self.gate is None else self.gate(residual, shortcut)
        return self.relu(shortcut + weight * kept * residual)


def gate_of(kind, channels):
    """A gate of each kind of arithmetic."""
    return {
        None: lambda: None,
        'SE': lambda: SE(channels, 2),
        'DoubleFC': lambda: DoubleFC(channels, 2),
        'codes': lambda: InnerImaging(
            channels, filters=((2, 1), (1, 2)), fold=None, maps=3, aggregate='code', reduction=2
        ),
        'pair_2x1': lambda: InnerImaging(channels, filters=((2, 1),), fold=None, maps=3, reduction=2),
        'pair_1x1': lambda: InnerImaging(channels, filters=((1, 1),), fold=None, maps=1, reduction=2),
        'one_stream': lambda: InnerImaging(
            channels, streams=1, filters=((2, 2),), fold=dict(width=4, pad=True), maps=5, reduction=2
        ),
        'two_banks': lambda: InnerImaging(
            channels, filters=((1, 2), (2, 1)), fold=dict(rows=2), maps=3, reduction=2
        ),
        'folded': lambda: InnerImaging(channels, fold=dict(width=4, pad=True), maps=3, reduction=2),
    }[kind]()


def set_up(module, mode, seed=0):
    """Fill a module and put its norms into a mode of ``MODES``; return it and its float64 twin."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in module.parameters():
            of_norm = tensor.dim() == 1
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3 + 0.4 * of_norm)
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.copy_(torch.randn(norm.running_mean.shape, generator=generator))
                norm.running_var.copy_(torch.rand(norm.running_var.shape, generator=generator) + 0.5)
    module.train()
    if mode != 'batch':
        for norm in module.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                norm.train(False).requires_grad_(mode != 'frozen')
    return module, copy.deepcopy(module).double()


def maps(*shape, number=2, layout=torch.contiguous_format, dtype=torch.float32, seed=1):
    """Maps that ask for gradients."""
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(shape, generator=generator) * 1.5 + 0.5 for _ in range(number)]
    return [m.to(dtype).contiguous(memory_format=layout).requires_grad_() for m in made]


def results(module, formula, inputs, seed=2):
    """Output, gradients of inputs and parameters, and buffers; every one by its name."""
    torch.manual_seed(seed)
    out = formula(*inputs)
    generator = torch.Generator().manual_seed(seed)
    out.backward(torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype))
    named = {'out': out} | {f'input {i}': x.grad for i, x in enumerate(inputs)}
    named |= {name: weight.grad for name, weight in module.named_parameters() if weight.requires_grad}
    return named | dict(module.named_buffers())


def doubles(inputs):
    """The same inputs in float64."""
    return [x.detach().double().requires_grad_() for x in inputs]


def distances(found, exact):
    """How far each result is from the exact one, over the largest value."""
    assert found.keys() == exact.keys()
    assert all(value is not None for value in found.values()), found
    return {
        name: ((found[name] - exact[name]).abs().max() / exact[name].abs().max().clamp_min(1e-3)).item()
        for name in found
    }


def beyond(tolerance, found, eager=None):
    """What is further than ``tolerance``, half as much again as torch's own distance allowed on top."""
    eager = eager or dict.fromkeys(found, 0.0)
    return {name: far for name, far in found.items() if not far <= tolerance + 1.5 * eager[name]}
