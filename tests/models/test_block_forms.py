"""``python -m inimg_mm fused CONFIG``: which blocks are fused on a GPU, and why not."""

import pytest
import torch

from inimg_mm.__main__ import main
from inimg_mm.models import backbones
from inimg_mm.models.backbones.block_forms import block_forms


def forms(**options):
    net = getattr(backbones, options.pop('type', 'SEResNet'))(
        **{'depth': 50, 'base_channels': 8, 'out_indices': (0,), 'fused': 'auto', **options}
    )
    return dict(block_forms(net.train()))


def test_what_is_fused_is_listed():
    assert forms() == {
        'stem': 'fused stem: norm, ReLU, max pool',
        'layer1.0': 'fused end: norm, SE, sum with a projection, ReLU',
        'layer1.1': 'fused end: norm, SE, sum, ReLU',
        'layer1.2': 'fused end: norm, SE, sum, ReLU',
    }
    options = dict(norm_eval=True, drop_path_rate=0.2, attention=dict(type='CMPESE', view='double_fc'))
    last = forms(type='ResNet', **options)['layer1.2']
    assert last == 'fused end: norm with running statistics, DoubleFC, drop path, sum, ReLU'


def test_a_gate_without_kernels_is_told():
    ini = dict(type='InnerImaging', filters=((1, 1), (2, 1)), fold=None)
    assert 'norm, InnerImaging, sum,' in forms(attention=ini)['layer1.1']
    assert (
        'InnerImaging (its own arithmetic plain)' in forms(attention=dict(ini, aggregate='code'))['layer1.1']
    )


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        (dict(fused=False), 'fused=False'),
        (dict(attention=dict(position='post')), "its gate stands at 'post'"),
        (dict(norm_cfg=dict(type='GN', num_groups=2)), 'its norm is a GroupNorm'),
        (dict(norm_cfg=dict(type='BN', momentum=None)), 'averages its statistics'),
        (dict(type='PreActResNet', depth=18), 'does not end in a norm, a sum and a ReLU'),
    ],
)
def test_what_is_plain_says_why(options, reason):
    found = forms(**options)
    found.pop('stem')
    assert all(form.startswith('plain end: ') and reason in form for form in found.values())


def test_a_stem_says_why_it_is_plain():
    assert forms(fused=False)['stem'] == 'plain stem: fused=False'
    assert forms(norm_cfg=dict(type='GN', num_groups=2))['stem'] == 'plain stem: its norm is a GroupNorm'
    assert 'running statistics' in forms(norm_eval=True)['stem']
    assert 'stem' not in forms(type='PreActResNet', depth=20)


def test_outputs_that_are_made_again_are_told():
    assert forms(recompute=True)['layer1.1'].endswith('ReLU; what its convolutions read is made again')


def test_a_hook_makes_its_block_plain():
    net = backbones.SEResNet(50, base_channels=8, out_indices=(0,), fused='auto')
    net.layer1[1].bn3.register_forward_hook(lambda *_: None)
    found = dict(block_forms(net))
    assert 'its norm has a hook' in found['layer1.1']
    assert found['layer1.2'].startswith('fused')


def test_the_command_on_a_machine_without_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert main(['fused', 'configs/imagenet/se-r50_32xb32_in1k.py']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'This machine: every block is computed plainly: there is no CUDA device.'
    assert sum('fused end: norm, SE, sum' in line for line in lines) == 16


def test_a_config_that_is_not_there(capsys):
    with pytest.raises(SystemExit) as stop:
        main(['fused', 'nowhere.py'])
    assert stop.value.code
    assert 'nowhere.py' in capsys.readouterr().err
