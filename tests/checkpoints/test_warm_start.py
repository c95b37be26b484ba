"""A warm start: the gated net computes what the plain net did, to the last bit, and learns from there."""

import copy

import pytest
import torch

from helpers.nets import image, loss_of, randomise, tiny
from helpers.pretrained import assert_refused, assert_same, save
from inimg_mm.checkpoints import Pretrained
from inimg_mm.checkpoints.fitting import gate_names
from inimg_mm.zoo.tables import GATE_SPECS

NETS = {
    'ResNet-18': ('resnet18', {}),
    'ResNet-50': ('resnet50', {}),
    'ResNeXt-50': ('resnext50_32x4d', {}),
    'ResNet-50 v1d': ('resnet50_v1d', {}),
    'SCNet-50': ('scnet50', {}),
    'SCNet-50 v1d': ('scnet50_v1d', {}),
    'ResNet-50 caffe': ('resnet50', dict(style='caffe')),
    'ResNet-18 with group norms': ('resnet18', dict(norm_cfg=dict(type='GN', num_groups=4))),
}


def gated_from_plain(folder, name, attention, dtype=torch.float64, **options):
    """A plain net, the gated net that starts from its file, and the fit."""
    plain = randomise(tiny(name, **options)).to(dtype)
    gated = randomise(tiny(name, attention=attention, **options), seed=1).to(dtype)
    fit = Pretrained(save(folder, plain), warm_start=True)(gated)
    return plain, gated, fit


def assert_equal_maps(gated, plain, x):
    for actual, expected in zip(gated(x), plain(x), strict=True):
        assert expected.std() > 1e-3
        assert torch.equal(actual, expected)


@pytest.mark.parametrize('gate', GATE_SPECS)
@pytest.mark.parametrize('net', NETS)
def test_outputs_are_those_of_the_plain_net(tmp_path, net, gate):
    name, options = NETS[net]
    plain, gated, fit = gated_from_plain(tmp_path, name, GATE_SPECS[gate], **options)
    gates = [name for name in gate_names(gated) if not name.endswith('num_batches_tracked')]
    assert fit.share == 1
    assert fit.excused == gates
    assert f'(100.0%); {len(gates)} of the gates start neutral' in str(fit)
    x = image(64, 64, dtype=torch.float64)
    with torch.no_grad():
        assert_equal_maps(gated.eval(), plain.eval(), x)
        for _ in range(2):  # the second step sees the statistics of the first
            assert_equal_maps(gated.train(), plain.train(), x)
        statistics = gated.state_dict()
        for name, value in plain.named_buffers():
            assert torch.equal(statistics[name], value), name
        assert_equal_maps(gated.eval(), plain.eval(), x)


@pytest.mark.parametrize('gate', ['SE', 'Inner-Imaging D+A+F'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_in_lower_precision(tmp_path, gate, dtype):
    plain, gated, _ = gated_from_plain(tmp_path, 'resnet50', GATE_SPECS[gate], dtype=torch.float32)
    x = image(64, 64)
    with torch.no_grad(), torch.autocast('cpu', dtype, enabled=dtype == torch.bfloat16):
        assert_equal_maps(gated.eval(), plain.eval(), x)
        assert_equal_maps(gated.train(), plain.train(), x)


@pytest.mark.parametrize('gate', GATE_SPECS)
def test_gates_learn_from_there(tmp_path, gate):
    attention = dict(GATE_SPECS[gate], reduction=2)
    _, net, _ = gated_from_plain(tmp_path, 'resnet50', attention, out_indices=(0,))
    net.train()
    blocks = [block.gate_module for block in net.layer1]
    optimiser = torch.optim.SGD([p for g in blocks for p in g.parameters()], lr=1)
    for step in range(2):
        optimiser.zero_grad()
        loss_of(net(image(64, 64, batch=4, dtype=torch.float64))).backward()
        for block in blocks:
            assert block.last_layer.weight.grad.any()
            # behind a last layer of zeros the others start to learn a step later
            assert step == 0 or all(p.grad.any() for p in block.parameters() if p.dim() > 1)
        optimiser.step()


def test_only_gated_stages_are_changed(tmp_path):
    attention = dict(type='SE', stages=(False, True, False, True))
    plain, gated, _ = gated_from_plain(tmp_path, 'resnet50', attention)
    for name, value in plain.state_dict().items():
        doubled = name.startswith(('layer2', 'layer4')) and name.endswith(('.bn3.weight', '.bn3.bias'))
        assert torch.equal(gated.state_dict()[name], (2 if doubled else 1) * value), name


def test_through_a_config(tmp_path):
    plain = randomise(tiny('resnet18'))
    path = save(tmp_path, plain)
    loading = dict(type='Pretrained', checkpoint=path, warm_start=True)
    net = tiny('cmpese_resnet50_double_fc', depth=18, init_cfg=loading)
    before = copy.deepcopy(net.layer1[0].gate.encoders[0].weight)
    net.init_weights()
    with torch.no_grad():
        assert_equal_maps(net.eval(), plain.eval(), image(32, 32))
    after = copy.deepcopy(net.state_dict())
    net.init_weights()
    assert_same(net, after)
    assert not torch.equal(before, net.layer1[0].gate.encoders[0].weight)  # initialised, not loaded
    assert not net.layer1[0].gate.decoder.weight.any()


def test_in_a_net_that_stops_early_and_starts_frozen(tmp_path):
    attention = dict(type='SE', stages=(False, True, True, True))
    plain = randomise(tiny('resnet50'))
    net = tiny('resnet50', attention=attention, frozen_stages=1, out_indices=(1, 2))
    Pretrained(save(tmp_path, plain), warm_start=True)(net)
    with torch.no_grad():
        for actual, expected in zip(net.eval()(image(64, 64)), plain.eval()(image(64, 64))[1:3], strict=True):
            assert torch.equal(actual, expected)


# ---- refusals -----------------------------------------------------------------------------------------


def test_a_checkpoint_that_has_gates(tmp_path):
    for name in ('seresnet50', 'cmpese_resnet50_pair_2x1'):
        message = r'already has gates \(layer1\.0\.\w+\..*would undo .*: write init_cfg\.warm_start=False'
        assert_refused(tiny(name), save(tmp_path, tiny(name)), message, warm_start=True)


def test_a_net_without_gates(tmp_path):
    net = tiny('resnet50')
    assert_refused(net, save(tmp_path, net), 'nets with gates, and this one has none', warm_start=True)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(position='pre'), r"position='pre': leave warm_start out, or take position='standard'"),
        (dict(position='identity'), r"position='identity': leave"),
        (dict(excitation='tanh'), r"leave warm_start out, or take excitation='sigmoid'"),
        (dict(squeeze='max', excitation='relu'), r"take excitation='sigmoid'"),
    ],
    ids=str,
)
def test_gates_that_nothing_could_make_up_for(tmp_path, options, message):
    net = tiny('seresnet18', attention=dict(type='SE', **options))
    assert_refused(net, save(tmp_path, tiny('resnet18')), message, warm_start=True)


@pytest.mark.parametrize('squeeze', ['max', 'none'])
def test_another_squeeze(tmp_path, squeeze):
    plain, net, _ = gated_from_plain(tmp_path, 'resnet18', dict(type='SE', squeeze=squeeze))
    x = image(64, 64, dtype=torch.float64)
    with torch.no_grad():
        assert_equal_maps(net.train(), plain.train(), x)


@pytest.mark.parametrize('frozen_stages', [1, 3])
def test_gates_in_frozen_stages(tmp_path, frozen_stages):
    net = tiny('seresnet50', frozen_stages=frozen_stages)
    flags = tuple(stage >= frozen_stages for stage in range(4))
    message = (
        rf'frozen_stages={frozen_stages}\) could never learn: write attention=dict\(…, '
        rf'stages=\({", ".join(map(str, flags))}\)\), or frozen_stages=0 or less'
    )
    path = save(tmp_path, tiny('resnet50'))
    assert_refused(net, path, message, warm_start=True)
    net = tiny('seresnet50', frozen_stages=frozen_stages, attention=dict(stages=flags))
    Pretrained(path, warm_start=True)(net)


def test_a_net_that_is_not_ours(tmp_path):
    backbones = pytest.importorskip('mmdet.models.backbones')
    net = backbones.ResNet(18, base_channels=16, stem_channels=16)
    message = r'belongs to a backbone of inimg_mm, not to ResNet$'
    assert_refused(net, save(tmp_path, tiny('resnet18')), message, warm_start=True)


def test_norms_without_weights(tmp_path):
    norm_cfg = dict(type='BN', affine=False)
    net = tiny('seresnet18', norm_cfg=norm_cfg, zero_init_residual=False)
    path = save(tmp_path, tiny('resnet18', norm_cfg=norm_cfg, zero_init_residual=False))
    assert_refused(net, path, 'BatchNorm2d ends a residual branch and has no weight', warm_start=True)


def test_too_little_is_refused_under_a_warm_start_too(tmp_path):
    state = {name: v for name, v in tiny('resnet18').state_dict().items() if 'layer4' not in name}
    message = r'fit this SEResNet: .*missing: \d+ layer4\.\*\. min_loaded=0\.99 wants more'
    assert_refused(tiny('seresnet18'), save(tmp_path, state), message, warm_start=True)
