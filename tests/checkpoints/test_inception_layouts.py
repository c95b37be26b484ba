"""Inception-v3's weights under other projects' names: same maps, whole models there and back."""

import functools

import pytest
import torch

from helpers.checkpoint_tools import tool
from helpers.nets import features, image, randomise
from helpers.pretrained import save
from inimg_mm.checkpoints import Pretrained, detect, from_native, read_state_dict, to_native
from inimg_mm.checkpoints.inspecting import inspect
from inimg_mm.models.backbones import InceptionV3

TOLERANCE = 1e-9


def build(project):
    if project == 'torchvision':
        return pytest.importorskip('torchvision').models.inception_v3(init_weights=False)
    if project == 'timm':
        return pytest.importorskip('timm').create_model('inception_v3')
    if project == 'mmpretrain':
        return pytest.importorskip('mmpretrain.models.backbones').InceptionV3(aux_logits=True)
    return pytest.importorskip('pytorchcv.models.inceptionv3').inceptionv3()


@functools.cache
def weights(project):
    """Random weights and statistics of a project's net."""
    return randomise(build(project)).state_dict()


def without_classifiers(state):
    return {name: value for name, value in state.items() if not name.startswith(('fc.', 'AuxLogits.'))}


@pytest.mark.parametrize('project', ['torchvision', 'timm', 'mmpretrain', 'pytorchcv'])
def test_same_maps_and_back(project):
    peer = build(project)
    peer.load_state_dict(weights(project))
    peer = peer.double()
    peer.eval()  # which returns None in the hosts
    theirs = peer.state_dict()
    assert detect(theirs) == ('pytorchcv' if project == 'pytorchcv' else 'inimg_mm')
    ours = to_native(theirs)
    back = from_native(ours, project)
    assert list(back) == list(theirs)
    assert all(back[name] is value for name, value in theirs.items())
    net = InceptionV3().double().eval()
    net.load_state_dict(without_classifiers(ours), strict=True)
    x = image(90, 107, dtype=torch.float64)
    expected = features(peer, x) if project != 'pytorchcv' else stages_of_pytorchcv(peer, x)
    with torch.no_grad():
        actual = net(x)[-len(expected) :]
    differences = [(a - e).abs().max().item() for a, e in zip(actual, expected, strict=True)]
    assert all(0.01 < e.std() < 1e3 for e in expected)
    print(f'{project} inception_v3: max difference {max(differences):.1e}')
    assert max(differences) < TOLERANCE


def stages_of_pytorchcv(peer, x):
    """The three maps that its modules give; our first lies inside its stem."""
    maps = [x]
    with torch.no_grad():
        for part in list(peer.features)[:-1]:  # all but the mean
            maps.append(part(maps[-1]))
    return maps[2:]


def whole():
    """Our classifier with these weights, as a checkpoint of it names them."""
    plain = weights('torchvision')
    heads = ('fc.', 'AuxLogits.')
    return {('head.' if name.startswith(heads) else 'backbone.') + name: v for name, v in plain.items()}


def assert_same_state(actual, expected):
    assert set(actual) == set(expected)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


@pytest.mark.parametrize('to', ['torchvision', 'timm', 'mmpretrain'])
def test_whole_models_there_and_back(tmp_path, to):
    """mmpretrain's net holds its classifiers itself; ours has them in its head."""
    path, there, back = save(tmp_path, whole()), tmp_path / 'there.pth', tmp_path / 'back.pth'
    status, out, error = tool('convert_checkpoint', path, there, '--to', to)
    assert (status, error) == (0, '')
    assert out == f'{there}: {len(whole())} tensors, from inimg_mm to {to} names\n'
    prefix = 'backbone.' if to == 'mmpretrain' else ''
    assert_same_state(
        read_state_dict(there, prefix=''),
        {prefix + name: value for name, value in weights('torchvision').items()},
    )
    assert tool('convert_checkpoint', there, back, '--to', 'inimg_mm')[0] == 0
    assert_same_state(read_state_dict(back, prefix=''), whole())


def test_mmpretrains_own_model_takes_the_weights(tmp_path):
    build_model = pytest.importorskip('mmpretrain').models.build_classifier
    there = tmp_path / 'there.pth'
    assert tool('convert_checkpoint', save(tmp_path, whole()), there, '--to', 'mmpretrain')[0] == 0
    model = build_model(
        dict(
            type='ImageClassifier',
            backbone=dict(type='InceptionV3', num_classes=1000, aux_logits=True),
            head=dict(type='ClsHead', loss=dict(type='CrossEntropyLoss')),
        )
    )
    model.load_state_dict(read_state_dict(there, prefix=''), strict=True)


def test_pytorchcv_has_no_auxiliary_classifier(tmp_path):
    there, back = tmp_path / 'there.pth', tmp_path / 'back.pth'
    status, out, _ = tool('convert_checkpoint', save(tmp_path, whole()), there, '--to', 'pytorchcv')
    assert status == 0
    assert 'left out: 14 AuxLogits.*, for which pytorchcv has no place; a whole model stays one' in out
    assert out.endswith('with --to mmpretrain, inimg_mm\n')
    theirs = read_state_dict(there, prefix='')
    assert set(theirs) == set(weights('pytorchcv'))
    assert tool('convert_checkpoint', there, back, '--to', 'inimg_mm')[0] == 0
    main = {name: value for name, value in whole().items() if not name.startswith('head.AuxLogits.')}
    assert_same_state(read_state_dict(back, prefix=''), main)


@pytest.mark.parametrize('project', ['torchvision', 'pytorchcv'])
def test_inspected(tmp_path, project):
    text = inspect(save(tmp_path, weights(project)))
    assert 'classifier: 1000 classes' in text
    fits = text[text.index('fits: ') :]
    assert 'inception_v3' in fits
    assert 'se_inception' not in fits
    assert 'no model of the zoo' not in text


def test_inspected_and_loaded_under_a_prefix(tmp_path):
    plain = without_classifiers(weights('torchvision'))
    path = save(tmp_path, {f'encoder.{name}': value for name, value in plain.items()})
    assert 'prefix: encoder.' in inspect(path)
    net = InceptionV3()
    with pytest.raises(ValueError, match=r"write init_cfg=dict\(.*prefix='encoder'\)"):
        Pretrained(path)(net)
    assert Pretrained(path, prefix='encoder')(net).share == 1
    assert torch.equal(net.Mixed_7c.branch1x1.bn.bias, plain['Mixed_7c.branch1x1.bn.bias'])


@pytest.mark.parametrize('project', ['torchvision', 'pytorchcv'])
def test_the_initialiser_leaves_the_classifiers(tmp_path, project):
    assert Pretrained(save(tmp_path, weights(project)))(InceptionV3()).share == 1


@pytest.mark.parametrize(('target', 'options'), [
    ('mmdet', {}),
    ('mmpose', {}),
    ('torchvision', dict(attention=dict(type='SE'))),
    ('timm', dict(attention=dict(type='SE'))),
    ('mmpretrain', dict(attention=dict(type='SE'))),
    ('pytorchcv', dict(attention=dict(type='SE'))),
    ('pytorchcv', dict(stem='7x7')),
])  # fmt: skip
def test_what_others_have_no_place_for(target, options):
    with torch.device('meta'):
        state = InceptionV3(**options).state_dict()
    with pytest.raises(ValueError, match=rf'^{target} has no place for (Mixed|Conv2d)_\S+; .*inimg_mm'):
        from_native(state, target)
