"""Layer-wise learning-rate decay: every backbone of the zoo, every host, and mmpretrain's own constructor."""

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from helpers.nets import ALL_MODELS, CIFAR, tiny
from inimg_mm.registry import build_model

LR, RATE, WEIGHT_DECAY = 0.1, 0.5, 0.01
OURS = 'inimg_mm.LayerDecayOptimWrapperConstructor'
MMPRETRAINS = 'mmpretrain.LearningRateDecayOptimWrapperConstructor'


class Net(nn.Module):
    """A host's model, as far as a constructor sees it."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(4, 2)


def settings(constructor=OURS, **paramwise):
    return dict(
        optimizer=dict(type='SGD', lr=LR, weight_decay=WEIGHT_DECAY),
        constructor=constructor,
        paramwise_cfg={'decay_rate': RATE, **paramwise},
    )


def groups(net, cfg):
    """The parameter groups by the parameters' names: every parameter is in one."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    by_name = {
        names.pop(id(parameter)): group
        for group in build_optim_wrapper(net, cfg).optimizer.param_groups
        for parameter in group['params']
    }
    assert not names
    return by_name


def layers(backbone):
    """Names of what each layer holds, from the image on; the last is what is not the backbone."""
    parts = [f'backbone.{name}.' for name, part in backbone.named_children() if list(part.parameters())]
    stages = tuple(f'backbone.{name}.' for name in backbone.stage_names)
    if 'Mixed_5d' in backbone.stage_names:  # Inception-v3
        stem = [name for name in parts if name.startswith(('backbone.Conv2d_1', 'backbone.Conv2d_2'))]
        blocks = [[name] for name in parts if name not in stem]
    else:
        stem = [name for name in parts if name not in (*stages, 'backbone.norm.')]
        sizes = [(stage, len(backbone.get_submodule(stage[9:-1]))) for stage in stages]
        blocks = [[f'{stage}{index}.'] for stage, size in sizes for index in range(size)]
        blocks[-1].append('backbone.norm.')  # what ends a pre-activation net belongs to its last block
    return [stem, *blocks, ['head.', 'cls_head.', 'neck.', 'rpn_head.', 'roi_head.']]


def assert_decays(net, by_name, head_rate=LR):
    expected = layers(net.backbone)
    covered = set()
    for depth, starts in enumerate(expected):
        names = [name for name in by_name if name.startswith(tuple(starts))]
        assert names
        covered.update(names)
        for name in names:
            assert by_name[name]['lr'] == pytest.approx(head_rate * RATE ** (len(expected) - 1 - depth))
    assert covered == by_name.keys()


@pytest.mark.parametrize('name', ALL_MODELS)
def test_rates_rise_with_depth(name):
    net = Net(tiny(name))
    assert_decays(net, groups(net, settings()))


@pytest.mark.parametrize('name', ALL_MODELS)
def test_mmpretrains_own_constructor_gives_the_same_rates(name):
    classifiers = pytest.importorskip('mmpretrain.models.classifiers', reason='of mmpretrain (extra mm)')
    backbone = tiny(name, out_indices=(2 if name in CIFAR else 3,))
    head = dict(type='LinearClsHead', num_classes=3, in_channels=backbone.out_channels[-1])
    neck = dict(type='GlobalAveragePooling')
    net = classifiers.ImageClassifier(backbone=backbone, neck=neck, head=head)
    theirs = dict(settings(MMPRETRAINS), paramwise_cfg=dict(layer_decay_rate=RATE))
    assert_decays(net, groups(net, theirs))
    assert_decays(net, groups(net, settings()))


@pytest.mark.parametrize(
    ('host', 'base', 'part', 'options'),
    [
        (
            'mmdet',
            'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
            'neck',
            dict(in_channels=[64, 128, 256, 512]),
        ),
        (
            'mmpose',
            'body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py',
            'head',
            dict(in_channels=512),
        ),
    ],
)
def test_other_hosts(host, base, part, options):
    pytest.importorskip(host, reason=f'needs {host}')
    backbone = dict(
        _delete_=True,
        type='inimg_mm.SEResNet',
        depth=50,
        base_channels=16,
        out_indices=(0, 1, 2, 3) if host == 'mmdet' else (3,),
    )
    model = {'backbone': backbone, part: options}
    net = build_model(Config.fromstring(f"_base_ = '{host}::{base}'\nmodel = {model!r}", '.py'))
    assert_decays(net, groups(net, settings()))


def test_what_is_frozen_is_in_no_group():
    net = Net(tiny('seresnet18', frozen_stages=1))
    learning = [group['params'][0] for group in build_optim_wrapper(net, settings()).optimizer.param_groups]
    assert len(learning) == sum(parameter.requires_grad for parameter in net.parameters())


def test_other_options_hold_as_well():
    net = Net(tiny('ini_resnet50_daf'))
    by_name = groups(
        net,
        settings(
            norm_decay_mult=0.0,
            bias_decay_mult=0.0,
            bias_lr_mult=2.0,
            custom_keys={'.gate.': dict(lr_mult=10.0, decay_mult=0.5)},
        ),
    )
    scale = RATE ** (len(layers(net.backbone)) - 2)  # of the first block
    block = 'backbone.layer1.0'
    gates = [name for name in by_name if name.startswith(f'{block}.gate.')]
    assert gates
    for name in gates:
        assert by_name[name]['lr'] == pytest.approx(LR * 10 * scale)
        assert by_name[name]['weight_decay'] == pytest.approx(WEIGHT_DECAY / 2)
    assert by_name[f'{block}.bn1.weight']['weight_decay'] == 0
    assert by_name[f'{block}.conv1.weight']['weight_decay'] == WEIGHT_DECAY
    assert by_name[f'{block}.conv1.weight']['lr'] == pytest.approx(LR * scale)
    assert (by_name['head.bias']['lr'], by_name['head.bias']['weight_decay']) == (LR * 2, 0)


def test_a_rate_of_one_changes_nothing():
    net = Net(tiny('seresnet18'))
    by_name = groups(net, settings(decay_rate=1))
    assert {group['lr'] for group in by_name.values()} == {LR}


@pytest.mark.parametrize('part', ['_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_orig_mod'])
def test_names_of_wrappers_are_seen_through(part):
    net = Net(tiny('seresnet18'))
    inner = net.backbone.layer2[1]
    wrapper = nn.Module()
    setattr(wrapper, part, inner)
    net.backbone.layer2[1] = wrapper
    by_name = groups(net, settings())
    wrapped = by_name[f'backbone.layer2.1.{part}.conv1.weight']['lr']
    assert by_name['backbone.layer2.0.conv1.weight']['lr'] < wrapped
    assert wrapped < by_name['backbone.layer3.0.conv1.weight']['lr']


@pytest.mark.parametrize(
    ('paramwise', 'message'),
    [
        (dict(decay_rate=0), 'above 0 and at most 1, got 0'),
        (dict(decay_rate=1.5), 'above 0 and at most 1, got 1.5'),
        (dict(decay_rate=None), 'above 0 and at most 1, got None'),
        (dict(num_layers=12), "no 'num_layers' here; choose from .'decay_rate', 'custom_keys'"),
        (dict(layer_decay_rate=0.9), "no 'layer_decay_rate' here"),
    ],
)
def test_bad_options(paramwise, message):
    with pytest.raises(ValueError, match=message):
        build_optim_wrapper(Net(tiny('resnet18')), settings(**paramwise))


def test_models_without_layers():
    with pytest.raises(ValueError, match='get_layer_depth.*Linear has none'):
        build_optim_wrapper(nn.Linear(2, 2), settings())
    with pytest.raises(ValueError, match='Net has Conv2d'):
        build_optim_wrapper(Net(nn.Conv2d(3, 3, 1)), settings())
    without_rate = dict(settings(), optimizer=dict(type='Adadelta'))
    with pytest.raises(ValueError, match=r'set optimizer\.lr'):
        build_optim_wrapper(Net(tiny('resnet18')), without_rate)
