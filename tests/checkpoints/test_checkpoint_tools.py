"""The tools that convert, publish and inspect checkpoints, and that never leave half a file."""

import hashlib
import re
from pathlib import Path

import pytest
import torch

from helpers.checkpoint_tools import expanded, folder_of, tool
from helpers.nets import randomise, tiny
from helpers.pretrained import save
from helpers.tooling import CONFIGS
from inimg_mm.checkpoints import from_native, read_file, read_state_dict
from inimg_mm.checkpoints.exporting import publish
from inimg_mm.checkpoints.fitting import check_fit
from inimg_mm.checkpoints.inspecting import inspect
from inimg_mm.checkpoints.reading import open_checkpoint
from inimg_mm.launch.configs import load_config
from inimg_mm.registry import build_model

CLASSES = ('red cell', 'white cell', 'platelet')


def classifier(name, prefix='fc', **options):
    """Random weights of a tiny net, as every one of its layouts has them, and of a classifier."""
    net = randomise(tiny(name, **options))
    width = net.out_channels[-1]
    return {
        **net.state_dict(),
        f'{prefix}.weight': torch.randn(10, width),
        f'{prefix}.bias': torch.randn(10),
    }


def assert_same_state(actual, expected):
    assert set(actual) == set(expected)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


# ---- convert ------------------------------------------------------------------------------------------

ROUTES = [
    ('resnet18', 'torchvision', 'fc'),
    ('resnet18', 'mmpretrain', 'head.fc'),
    ('resnet18', 'mmdet', 'fc'),
    ('resnet50_v1d', 'timm', 'fc'),
    ('resnet50_v1d', 'mmpretrain', 'head.fc'),
    ('seresnet50', 'timm', 'fc'),
    ('seresnet50', 'timm_legacy', 'last_linear'),
    ('seresnet50', 'mmpose', 'fc'),
    ('scnet50_v1d', 'mmpose', 'fc'),
    ('scnet50', 'scnet_authors', 'fc'),
    ('ini_resnet50_daf', 'inimg_mm', 'head.fc'),
]


def whole(native):
    """A classifier's whole model in mmpretrain."""
    return {f'head.{name}' if name.startswith('fc.') else f'backbone.{name}': v for name, v in native.items()}


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize(('name', 'to', 'head'), ROUTES)
def test_there_and_back(tmp_path, name, to, head, suffix):
    """A backbone with a classifier comes back as a whole model, which tools/test.py takes."""
    native = classifier(name)
    path, there, back = save(tmp_path, native), tmp_path / f'there{suffix}', tmp_path / f'back{suffix}'
    status, out, _ = tool('convert_checkpoint', path, there, '--to', to)
    target = 'mmpose_scnet' if (name, to) == ('scnet50_v1d', 'mmpose') else to
    assert status == 0
    assert out.startswith(f'{there}: {len(native)} tensors, from inimg_mm to {target} names')
    theirs = read_state_dict(there, prefix='')
    assert {f'{head}.weight', f'{head}.bias'} <= set(theirs)
    if to in ('mmpretrain', 'inimg_mm'):
        assert all(key.startswith(('backbone.', 'head.fc.')) for key in theirs)
    else:
        assert_same_state(theirs, from_native(native, to))
    assert tool('convert_checkpoint', there, back, '--to', 'inimg_mm')[0] == 0
    assert_same_state(read_state_dict(back, prefix=''), whole(native))
    assert folder_of(back) == [back.name, there.name, 'weights.pth']


@pytest.mark.parametrize(('name', 'to', 'head'), ROUTES)
def test_a_whole_classifier_comes_back_as_it_went(tmp_path, name, to, head):
    model = whole(classifier(name))
    there, back = tmp_path / 'there.pth', tmp_path / 'back.pth'
    assert tool('convert_checkpoint', save(tmp_path, model), there, '--to', to)[0] == 0
    assert tool('convert_checkpoint', there, back, '--to', 'inimg_mm')[0] == 0
    assert_same_state(read_state_dict(back, prefix=''), model)


def test_a_whole_model_of_a_host_comes_back_as_it_went(tmp_path):
    """A detector through mmdet's names, with what it calls its classes; only its backbone's names change."""
    backbone = randomise(tiny('resnet50_v1d')).state_dict()
    rest = {'neck.fc.weight': torch.randn(2), 'roi_head.bbox_head.fc_cls.weight': torch.randn(3, 2)}
    model = {f'backbone.{name}': value for name, value in backbone.items()} | rest
    meta = dict(dataset_meta=dict(classes=('cat', 'dog')), epoch=3)
    path = save(tmp_path, dict(state_dict=model, meta=meta, optimizer=dict(lr=0.1)))
    there, back = tmp_path / 'there.pth', tmp_path / 'back.pth'
    out = tool('convert_checkpoint', path, there, '--to', 'mmdet')[1]
    assert out == f'{there}: {len(model)} tensors, from inimg_mm to mmdet names\n'
    theirs = {f'backbone.{name}': value for name, value in from_native(backbone, 'mmdet').items()}
    assert_same_state(read_state_dict(there, prefix=''), theirs | rest)
    assert 'backbone.stem.0.weight' in theirs
    assert tool('convert_checkpoint', there, back, '--to', 'inimg_mm')[0] == 0
    assert_same_state(read_state_dict(back, prefix=''), model)
    assert read_file(back)['meta'] == dict(dataset_meta=meta['dataset_meta'])
    out = tool('convert_checkpoint', back, tmp_path / 'back.safetensors', '--to', 'mmdet')[1]
    assert_same_state(read_state_dict(tmp_path / 'back.safetensors', prefix=''), theirs | rest)


@pytest.mark.parametrize(
    ('host', 'config', 'to', 'backbone'),
    [
        ('mmdet', 'faster-rcnn_scnet50-v1d_fpn_digits', 'mmpose', 'mmpose_scnet'),
        ('mmpose', 'td-hm_scnet50_digits-96x96', 'mmpose', 'mmpose_scnet'),
        ('mmpretrain', 'se-r18_digits', 'mmpretrain', 'mmpretrain'),
    ],
)
def test_a_hosts_model_is_filled_by_what_came_back(tmp_path, host, config, to, backbone):
    pytest.importorskip(host)
    cfg = load_config(CONFIGS[config])
    model = build_model(cfg)
    there, back = tmp_path / 'there.pth', tmp_path / 'back.pth'
    out = tool('convert_checkpoint', save(tmp_path, model), there, '--to', to)[1]
    assert f'from inimg_mm to {backbone} names' in out
    assert 'left out' not in out
    assert tool('convert_checkpoint', there, back, '--to', 'inimg_mm')[0] == 0
    check_fit(cfg, open_checkpoint(back))
    assert_same_state(read_state_dict(back, prefix=''), model.state_dict())


def test_a_training_checkpoint_of_a_detector(tmp_path):
    backbone = randomise(tiny('resnet50_v1d')).state_dict()
    state = {f'backbone.{name}': value for name, value in from_native(backbone, 'mmdet').items()}
    state |= {'neck.weight': torch.ones(1), 'bbox_head.a.weight': torch.ones(1), 'bbox_head.b': torch.ones(1)}
    path = save(tmp_path, dict(state_dict=state, optimizer=dict(lr=0.1)))
    out = tool('convert_checkpoint', path, tmp_path / 'timm.pth', '--to', 'timm')[1]
    assert 'from mmdet to timm names; left out: 2 bbox_head.*, 1 neck.*, for which timm has no place' in out
    assert out.endswith(
        'a whole model stays one with --to mmpose_scnet, mmpretrain, mmdet, mmpose, inimg_mm\n'
    )
    assert_same_state(read_state_dict(tmp_path / 'timm.pth'), backbone)


@pytest.mark.parametrize(
    ('name', 'to', 'message'),
    [
        ('seresnet18', 'mmpretrain', 'mmpretrain has no SE-ResNet-18 (its depths are 50, 101, 152), so no'),
        ('seresnet34', 'mmpose', 'mmpose has no SE-ResNet-34 (its depths are 50, 101, 152), so no model'),
        ('seresnet50', 'mmdet', 'mmdet has no SE-ResNet-50 (and none of another depth), so no model of its'),
        ('seresnet50', 'mmpretrain', None),
        ('resnet18', 'mmpretrain', None),
        ('scnet50', 'mmpose', None),
    ],
)
def test_a_project_without_such_a_net(tmp_path, name, to, message):
    out = tool('convert_checkpoint', save(tmp_path, tiny(name)), tmp_path / 'a.pth', '--to', to)[1]
    assert message in out if message else 'has no' not in out.replace('has no avd', '')


@pytest.mark.parametrize('to', ['mmpretrain', 'timm_legacy'])
def test_backbone_only(tmp_path, to):
    native = classifier('seresnet50', prefix='head.fc')
    model = {name if name.startswith('head') else f'backbone.{name}': v for name, v in native.items()}
    target = tmp_path / 'out.pth'
    out = tool('convert_checkpoint', save(tmp_path, model), target, '--to', to, '--backbone-only')[1]
    assert 'left out: 2 head.*' in out
    backbone = {name: value for name, value in native.items() if not name.startswith('head')}
    assert_same_state(read_state_dict(target, prefix=''), from_native(backbone, to))


def test_notes_and_the_named_source(tmp_path):
    theirs = from_native(classifier('seresnet50'), 'timm_legacy')
    path = save(tmp_path, theirs)
    out = tool('convert_checkpoint', path, tmp_path / 'a.pth', '--to', 'inimg_mm', '--from', 'timm_legacy')[1]
    assert "need stem_ceil_mode=True, and those that are no ResNeXts style='caffe'" in out
    path = save(tmp_path, classifier('scnet50'))
    out = tool('convert_checkpoint', path, tmp_path / 'b.pth', '--to', 'mmpose')[1]
    assert "mmpose's SCNet ignores dilations and has no avd" in out


@pytest.mark.parametrize(
    ('name', 'to', 'message'),
    [
        (
            'seresnet50',
            'torchvision',
            r"torchvision has no place for layer1\.0\.se_layer.*'timm'",
        ),
        ('cmpese_resnet50_pair_1x1', 'mmdet', r"mmdet has no place for layer1\.0\.gate.*\['inimg_mm'\]"),
        ('scnet50', 'timm', r"timm has no place for layer1\.0\.scconv.*'mmpose_scnet', .*'scnet_authors'"),
        ('resnet50_v1d', 'torchvision', r'torchvision has no place for conv1\.0\.weight'),
    ],
)
def test_no_place(tmp_path, name, to, message):
    path, target = save(tmp_path, tiny(name)), tmp_path / 'out.pth'
    status, out, error = tool('convert_checkpoint', path, target, '--to', to)
    assert (status, out) == (2, '')
    assert re.fullmatch(rf'error: {message}.*\n', error)
    assert not target.exists()


# ---- publish ------------------------------------------------------------------------------------------


def training_checkpoint(folder, **changes):
    state = randomise(tiny('resnet18')).state_dict()
    content = dict(
        meta=dict(epoch=3, cfg='secret = 1', dataset_meta=dict(classes=CLASSES, palette=[(1, 2, 3)])),
        state_dict={
            f'module.{name}': torch.nn.Parameter(v) if v.dim() > 1 else v for name, v in state.items()
        },
        ema_state_dict={'module.conv1.weight': torch.ones(3)},
        optimizer=dict(state={0: dict(exp_avg=torch.ones(1000))}),
        **changes,
    )
    torch.save(content, folder / 'epoch_3.pth')
    return folder / 'epoch_3.pth', state


@pytest.mark.parametrize(
    ('target', 'written'), [('net.pth', 'net'), ('net-0123abcd.pth', 'net'), ('net', 'net')]
)
def test_publish(tmp_path, target, written):
    source, state = training_checkpoint(tmp_path)
    status, out, _ = tool('publish_model', source, tmp_path / target)
    path = Path(out.strip())
    assert status == 0
    assert path.name == f'net-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth'
    content = torch.load(path, weights_only=True)
    assert set(content) == {'state_dict', 'meta'}
    assert content['meta'] == {'dataset_meta': dict(classes=CLASSES, palette=[(1, 2, 3)])}
    assert_same_state(content['state_dict'], state)
    assert all(type(value) is torch.Tensor for value in content['state_dict'].values())
    assert path.stat().st_size < source.stat().st_size
    assert folder_of(path) == sorted(['epoch_3.pth', path.name])
    # the same content has the same name
    again = tool('publish_model', path, tmp_path / 'again.pth')[1]
    assert again.strip()[-12:] == path.name[-12:]


def test_publish_keeps_no_memory_that_is_not_shown(tmp_path):
    path = save(tmp_path, {'layer.weight': torch.zeros(1_000_000)[:10]})
    published = publish(path, tmp_path / 'small.pth')
    assert published.stat().st_size < 10_000


def test_publish_safetensors_and_what_is_not_plain(tmp_path):
    source, state = training_checkpoint(tmp_path)
    path = publish(source, tmp_path / 'net.safetensors')
    assert re.fullmatch(r'net-[0-9a-f]{8}\.safetensors', path.name)
    assert_same_state(read_state_dict(path), state)
    content = torch.load(source, weights_only=True)
    content['meta']['dataset_meta'] = dict(classes=torch.ones(3))
    torch.save(content, source)
    assert read_file(publish(source, tmp_path / 'net.pth'))['meta'] == {}


# ---- inspect ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['resnet18', 'seresnext50_32x4d', 'scnet50_v1d', 'ini_resnet50_da'])
def test_inspect_names_the_model(tmp_path, name):
    state = {**expanded(name), 'fc.weight': torch.zeros(7, 3), 'fc.bias': torch.zeros(7)}
    total = sum(value.numel() for value in state.values())
    status, out, _ = tool('inspect_checkpoint', save(tmp_path, state))
    lines = dict(line.split(': ', 1) for line in out.splitlines())
    assert status == 0
    assert lines['fits'] == name
    assert lines['weights'] == f'{len(state)} tensors, {total:,} values, float32, int64'
    assert lines['backbone'] == f'{len(state) - 2} tensors, inimg_mm names'
    assert lines['classifier'] == '7 classes'
    assert ('gates' in lines) == (name in ('seresnext50_32x4d', 'ini_resnet50_da'))
    assert 'beside them' not in lines


def test_inspect_a_training_checkpoint(tmp_path):
    state = from_native(expanded('seresnet50'), 'timm_legacy')
    model = {**{f'backbone.{name}': value for name, value in state.items()}, 'neck.weight': torch.ones(1)}
    out = inspect(save(tmp_path, dict(state_dict=model, meta={}, optimizer={})))
    assert 'beside them: state_dict, meta, optimizer\n' in out
    assert f'parts: {len(state)} backbone.*, 1 neck.*\n' in out
    assert f'backbone: {len(state)} tensors, timm_legacy names\n' in out
    assert 'note: its nets need stem_ceil_mode=True' in out
    assert 'other parts: 1 neck.*\n' in out
    assert out.endswith('fits: seresnet50')


def test_inspect_finds_the_backbone_behind_another_prefix(tmp_path):
    state = from_native(expanded('seresnet50'), 'timm')
    state = {f'{part}.{name}': value for part in ('base', 'momentum.net') for name, value in state.items()}
    out = inspect(save(tmp_path, {**state, 'base.fc.weight': torch.ones(4, 2), 'queue': torch.ones(1)}))
    assert 'prefix: base. or momentum.net.\n' in out
    assert f'backbone: {len(state) // 2} tensors, timm names\nclassifier: 4 classes\n' in out
    assert f'other parts: {len(state) // 2} momentum.*, 1 queue.*\n' in out
    assert out.endswith('fits: seresnet50')


def test_inspect_what_fits_nothing(tmp_path):
    state = expanded('resnet50')
    del state['layer4.2.bn3.weight'], state['layer4.2.bn3.bias'], state['layer4.2.conv3.weight']
    state['layer4.2.gamma'] = torch.ones(1)
    out = inspect(save(tmp_path, state))
    assert re.search(
        r'fits: no model of the zoo; closest is resnet50: \d+ of 265 tensors .*missing: 3 layer4', out
    )
    out = inspect(save(tmp_path, {'features.0.weight': torch.ones(2, 2)}))
    assert out.endswith('fits: no model of the zoo')


@pytest.mark.parametrize(
    ('name', 'widths', 'fits'),
    [
        ('seresnet18', dict(base_channels=32, stem_channels=32), 'seresnet18 with base_channels=32'),
        (
            'scnet50_v1d',
            dict(base_channels=16, stem_channels=32),
            'scnet50_v1d with base_channels=16, stem_channels=32',
        ),
    ],
)
def test_inspect_reads_the_width(tmp_path, name, widths, fits):
    state = tiny(name, **widths).state_dict()
    assert inspect(save(tmp_path, state)).endswith(f'\nfits: {fits}')
    del state['layer4.1.bn2.weight' if name == 'seresnet18' else 'layer4.1.bn3.weight']
    state['layer4.1.gamma'] = torch.ones(1)
    out = inspect(save(tmp_path, state))
    assert re.search(rf'fits: no model of the zoo; closest is {fits}: \d\d+ of \d+ tensors', out)
