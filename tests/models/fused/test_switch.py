"""The switch where nothing can be fused: what is said, what is computed, what is not even imported."""

import logging
import subprocess
import sys

import pytest
import torch
from torch import nn

from inimg_mm.models import backbones, fused
from inimg_mm.models.fused import switch


@pytest.fixture
def said(monkeypatch):
    """What is logged by a process that has not said anything yet."""
    lines = []
    monkeypatch.setattr(
        switch, 'print_log', lambda text, logger, level=logging.INFO: lines.append((text, level))
    )
    switch._reason.cache_clear()
    yield lines
    switch._reason.cache_clear()


def on_gpu(monkeypatch, capability=(9, 0), hip=None, far=0.0):
    """Let a machine look as if it had a GPU; returns the reason why nothing is fused for a dtype."""

    def trial(*arguments):
        if isinstance(far, Exception):
            raise far
        return far

    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda index: capability)
    monkeypatch.setattr(torch.version, 'hip', hip)
    monkeypatch.setattr('inimg_mm.models.fused.trial.difference', trial)
    monkeypatch.setattr(torch, 'device', lambda *arguments: arguments)
    return lambda dtype=torch.float32: switch._reason('cuda', 0, dtype, True, 'auto')


def test_auto_on_a_cpu_is_the_plain_net_and_says_nothing(said):
    norm, y = nn.BatchNorm2d(4), torch.randn(2, 4, 3, 3, requires_grad=True)
    out = fused.norm_act(y, norm, nn.ReLU())
    assert type(out.grad_fn).__name__ == 'ReluBackward0'
    assert said == []


def test_true_on_a_cpu_says_once_why_not(said):
    norm, y = nn.BatchNorm2d(4), torch.randn(2, 4, 3, 3)
    for _ in range(2):
        fused.norm_act(y, norm, nn.ReLU(), True)
    ((text, level),) = said
    assert 'off, a CPU has them under TRITON_INTERPRET=1 only' in text
    assert level == logging.WARNING


@pytest.mark.parametrize(
    ('machine', 'dtype', 'reason'),
    [
        (dict(), torch.bfloat16, None),
        (dict(capability=(7, 5)), torch.float16, None),
        (dict(capability=(7, 5)), torch.bfloat16, 'bfloat16 needs compute capability 8.0'),
        (dict(hip='6.2'), torch.float32, 'this is ROCm'),
        (dict(far=RuntimeError('Failed to find C compiler')), torch.float32, 'Failed to find C compiler'),
        (dict(far=0.5), torch.bfloat16, 'the first use was 5e-01 from the plain formula'),
        (dict(far=float('nan')), torch.float32, 'the first use was nan from the plain formula'),
    ],
)
def test_a_gpu_that_cannot(said, monkeypatch, machine, dtype, reason):
    found = on_gpu(monkeypatch, **machine)(dtype)
    assert found is None if reason is None else reason in found
    ((text, _),) = said
    assert ('on;' in text) if reason is None else (reason in text and '\n' not in text)


def test_an_old_torch_and_a_missing_triton_are_told(said, monkeypatch):
    reason = on_gpu(monkeypatch)
    monkeypatch.delattr(torch.autograd.graph, 'increment_version')
    assert 'is too old' in reason()
    switch._reason.cache_clear()
    monkeypatch.setitem(sys.modules, 'inimg_mm.models.fused.map_kernels', None)
    assert 'Triton cannot be imported' in reason()


def test_a_wrong_switch_is_refused():
    with pytest.raises(ValueError, match="fused must be 'auto', True or False, got 'yes'"):
        backbones.ResNet(18, fused='yes')


def test_every_block_has_the_net_s_switch():
    net = backbones.SEResNet(50, base_channels=8, fused='auto')
    assert {m.fused for m in net.modules() if hasattr(m, 'fused')} == {'auto'}
    assert backbones.SEResNet(50, base_channels=8).fused is False


def test_kernels_are_imported_with_the_first_map_that_is_fused():
    code = (
        'import sys, torch; from inimg_mm.models.backbones import ResNet; '
        'ResNet(18, base_channels=8).eval()(torch.ones(1, 3, 32, 32)); '
        "assert 'inimg_mm.models.fused.map_kernels' not in sys.modules"
    )
    subprocess.run([sys.executable, '-c', code], check=True)
