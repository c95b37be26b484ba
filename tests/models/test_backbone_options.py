"""Options that change what a backbone is built of."""

import copy

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks import DropPath
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from helpers.nets import assert_declared_shapes, dilations_of, image, loss_of, randomise, tiny
from inimg_mm.models.backbones.blocks import branch_width

NETS = ['resnet18', 'resnet50_v1d', 'seresnext50_32x4d', 'cmpese_resnet50_folded_3x3', 'ini_resnet50_daf']
BOTTLENECKS = NETS[1:]


@pytest.mark.parametrize('name', NETS)
def test_multi_grid_dilates_the_blocks_of_the_last_stage(name):
    grid = (1, 2) if name == 'resnet18' else (1, 2, 4)
    net = tiny(name, multi_grid=grid, strides=(1, 2, 2, 1), dilations=(1, 1, 2, 2), contract_dilation=True)
    assert dilations_of(net.layer4) == list(grid)
    assert dilations_of(net.layer3) == [1] + [2] * (len(net.layer3) - 1)
    with torch.no_grad():
        assert_declared_shapes(net.eval(), image(64, 64))


def test_multi_grid_of_three_stages():
    net = tiny(
        'resnet50',
        num_stages=3,
        strides=(1, 2, 1),
        dilations=(1, 1, 2),
        multi_grid=(1, 2, 4, 1, 2, 4),
        out_indices=(0, 1, 2),
    )
    assert dilations_of(net.layer3) == [1, 2, 4, 1, 2, 4]
    assert dilations_of(net.layer2) == [1] * 4


@pytest.mark.parametrize(
    ('planes', 'base_width', 'groups', 'width'),
    [(64, 64, 1, 64), (128, 4, 32, 256), (16, 6, 4, 4), (96, 26, 2, 78), (16, 26, 1, 6)],
)
def test_width_is_cut_to_whole_channels_before_the_groups(planes, base_width, groups, width):
    assert branch_width(planes, base_width, groups) == width


@pytest.mark.parametrize('name', BOTTLENECKS)
def test_caffe_style_strides_first(name):
    for style, strides in (('caffe', [(2, 2), (1, 1)]), ('pytorch', [(1, 1), (2, 2)])):
        block = tiny(name, style=style).layer2[0]
        assert [block.conv1.stride, block.conv2.stride] == strides


@pytest.mark.parametrize('name', NETS)
@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (0,)], ids=str)
def test_drop_path_rates_rise_linearly(name, out_indices):
    net = tiny(name, drop_path_rate=0.3, out_indices=out_indices)
    drops = [block.drop_path for stage in net.stage_names for block in net.get_submodule(stage)]
    rates = [drop.drop_prob if isinstance(drop, DropPath) else 0 for drop in drops]
    assert rates[0] == 0
    assert rates == pytest.approx(np.linspace(0, 0.3, len(tiny_blocks(name)))[: len(rates)])


def tiny_blocks(name):
    net = tiny(name)
    return [block for stage in net.stage_names for block in net.get_submodule(stage)]


def test_dropped_residuals_leave_the_shortcut():
    block = randomise(tiny('seresnet18', drop_path_rate=0.8).layer4[1]).train()
    x = torch.rand(64, 128, 2, 2)
    same = (block(x) == x).flatten(1).all(dim=1)
    assert 0.6 < same.float().mean() < 0.95


@pytest.mark.parametrize('name', NETS)
def test_sync_bn_reaches_the_gates(name):
    net = tiny(name, norm_cfg=dict(type='SyncBN', requires_grad=True))
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    if name.startswith(('cmpese', 'ini')):
        assert any(
            'gate' in key for key, module in net.named_modules() if isinstance(module, nn.SyncBatchNorm)
        )


@pytest.mark.parametrize('name', NETS)
def test_group_norm(name):
    net = tiny(name, norm_cfg=dict(type='GN', num_groups=4))
    net.init_weights()
    last = 'gn3' if name in BOTTLENECKS else 'gn2'
    assert torch.all(getattr(net.layer2[0], last).weight == 0)
    loss_of(assert_declared_shapes(net, image(32, 32))).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize(
    ('stages', 'strides'), [(1, (1,)), (2, (1, 2)), (3, (2, 2, 1))], ids=['1 stage', '2 stages', '3 stages']
)
@pytest.mark.parametrize('name', NETS)
def test_fewer_stages(name, stages, strides):
    out_indices = tuple(range(stages))
    net = tiny(name, num_stages=stages, strides=strides, dilations=(1,) * stages, out_indices=out_indices)
    assert net.out_strides == tuple(4 * np.cumprod(strides))
    with torch.no_grad():
        assert_declared_shapes(net.eval(), image(48, 64))


def test_other_images_and_stems():
    net = tiny('resnet18', in_channels=1, stem_channels=24, base_channels=8).eval()
    assert net.conv1.weight.shape == (24, 1, 7, 7)
    assert net(torch.randn(1, 1, 32, 32))[3].shape == (1, 64, 1, 1)


def test_gates_options_without_a_type_are_the_familys():
    assert tiny('seresnet18', attention=dict(reduction=4)).layer1[0].se_layer.conv1.conv.out_channels == 4
    assert hasattr(tiny('seresnet18', attention=dict(type='CMPESE')).layer1[0], 'gate')
    assert 'image=4x8' in repr(tiny('ini_resnet50_daf', depth=18, attention=dict(fold=8)).layer1[0].gate)


@pytest.mark.slow
def test_checkpointing_in_a_compiled_net():
    plain, net = (
        randomise(tiny('ini_resnet50_daf', out_indices=(0,), with_cp=True).double()).train() for _ in range(2)
    )
    for run in (plain, torch.compile(net, backend='aot_eager')):
        loss_of(run(image(32, 32, dtype=torch.float64))).backward()
    for (key, a), (_, b) in zip(plain.named_parameters(), net.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=key)
    for (key, a), (_, b) in zip(plain.named_buffers(), net.named_buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=key)


DCN = dict(type='DCNv2', deform_groups=1)


@pytest.fixture(scope='session')
def _compiled_ops():
    pytest.importorskip('mmcv.ops', exc_type=ImportError)


@pytest.mark.usefixtures('_compiled_ops')
class TestDeformableConvolutions:
    @pytest.mark.parametrize('name', BOTTLENECKS)
    def test_stages_have_them_and_start_with_zero_offsets(self, name):
        config = dict(dcn=dict(DCN, fallback_on_stride=False), stage_with_dcn=[False, True, True, True])
        if 'next' in name:
            config['groups'] = 4
        before = copy.deepcopy(config)
        net = randomise(tiny(name, **config))
        net.init_weights()
        assert config == before
        for stage in net.stage_names:
            for block in net.get_submodule(stage):
                assert hasattr(block.conv2, 'conv_offset') == (stage != 'layer1')
                if stage != 'layer1':
                    assert torch.all(block.conv2.conv_offset.weight == 0)
                    assert torch.all(block.conv2.conv_offset.bias == 0)
                    assert block.conv2.weight.std() > 0
        loss_of(assert_declared_shapes(net, image(64, 64))).backward()
        assert all(parameter.grad is not None for parameter in net.parameters())

    def test_fallback_on_stride(self):
        dcn = dict(DCN, fallback_on_stride=True)
        net = tiny('resnet50', dcn=dcn, stage_with_dcn=(False, True, True, True))
        assert [hasattr(block.conv2, 'conv_offset') for block in net.layer3] == [False] + [True] * 5

    def test_zero_offsets_are_a_plain_convolution(self):
        plain = randomise(tiny('resnet50')).eval()
        net = tiny(
            'resnet50', dcn=dict(type='DCN', deform_groups=1), stage_with_dcn=(False, False, True, True)
        )
        net.init_weights()
        missing = net.eval().load_state_dict(plain.state_dict(), strict=False)
        assert all('conv_offset' in key for key in missing.missing_keys)
        with torch.no_grad():
            for actual, expected in zip(net(image(128, 128)), plain(image(128, 128)), strict=True):
                torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
