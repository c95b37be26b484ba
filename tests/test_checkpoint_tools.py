"""The tools that convert, publish and inspect checkpoints, and that never leave half a file."""

import hashlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import randomise, tiny
from test_pretrained import save
from test_reading import PAGE, Hostile

from inimg_mm import zoo
from inimg_mm.checkpoints import from_native, read_file, read_state_dict
from inimg_mm.checkpoints.inspecting import inspect
from inimg_mm.checkpoints.writing import publish

ROOT = Path(__file__).resolve().parent.parent
CLASSES = ('red cell', 'white cell', 'platelet')


@pytest.fixture
def tool(monkeypatch, capsys):
    """Run a tool; its exit status, output and error output."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(str(ROOT / 'tools' / f'{name}.py'), run_name='__main__')
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


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


def folder_of(path):
    return sorted(p.name for p in Path(path).parent.iterdir())


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
    ('ini_resnet50_daf', 'inimg_mm', 'fc'),
]


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize(('name', 'to', 'head'), ROUTES)
def test_there_and_back(tool, tmp_path, name, to, head, suffix):
    native = classifier(name)
    path, there, back = save(tmp_path, native), tmp_path / f'there{suffix}', tmp_path / f'back{suffix}'
    status, out, _ = tool('convert_checkpoint', path, there, '--to', to)
    target = 'mmpose_scnet' if (name, to) == ('scnet50_v1d', 'mmpose') else to
    assert status == 0
    assert out.startswith(f'{there}: {len(native)} tensors, from inimg_mm to {target} names')
    theirs = read_state_dict(there, prefix='')
    assert {f'{head}.weight', f'{head}.bias'} <= set(theirs)
    if to == 'mmpretrain':
        assert all(key.startswith(('backbone.', 'head.fc.')) for key in theirs)
    else:
        assert_same_state(theirs, from_native(native, to))
    assert tool('convert_checkpoint', there, back, '--to', 'inimg_mm')[0] == 0
    assert_same_state(read_state_dict(back), native)
    torch.testing.assert_close(read_state_dict(back), native, rtol=0, atol=0)
    assert folder_of(back) == [back.name, there.name, 'weights.pth']


def test_a_training_checkpoint_of_a_detector(tool, tmp_path):
    backbone = randomise(tiny('resnet50_v1d')).state_dict()
    state = {f'backbone.{name}': value for name, value in from_native(backbone, 'mmdet').items()}
    state |= {'neck.weight': torch.ones(1), 'bbox_head.a.weight': torch.ones(1), 'bbox_head.b': torch.ones(1)}
    path = save(tmp_path, dict(state_dict=state, optimizer=dict(lr=0.1)))
    out = tool('convert_checkpoint', path, tmp_path / 'timm.pth', '--to', 'timm')[1]
    assert out.endswith('from mmdet to timm names; left out: 2 bbox_head.*, 1 neck.*\n')
    assert_same_state(read_state_dict(tmp_path / 'timm.pth'), backbone)


@pytest.mark.parametrize('to', ['mmpretrain', 'timm_legacy'])
def test_backbone_only(tool, tmp_path, to):
    native = classifier('seresnet50', prefix='head.fc')
    model = {name if name.startswith('head') else f'backbone.{name}': v for name, v in native.items()}
    target = tmp_path / 'out.pth'
    out = tool('convert_checkpoint', save(tmp_path, model), target, '--to', to, '--backbone-only')[1]
    assert 'left out: 2 head.*' in out
    backbone = {name: value for name, value in native.items() if not name.startswith('head')}
    assert_same_state(read_state_dict(target, prefix=''), from_native(backbone, to))


def test_notes_and_the_named_source(tool, tmp_path):
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
            r"torchvision has no place for layer1\.0\.se_layer.*'timm', 'mmpretrain'",
        ),
        ('cmpese_resnet50_pair_1x1', 'mmdet', r"mmdet has no place for layer1\.0\.gate.*\['inimg_mm'\]"),
        ('scnet50', 'timm', r"timm has no place for layer1\.0\.scconv.*'mmpose_scnet', .*'scnet_authors'"),
        ('resnet50_v1d', 'torchvision', r'torchvision has no place for conv1\.0\.weight'),
    ],
)
def test_no_place(tool, tmp_path, name, to, message):
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
def test_publish(tool, tmp_path, target, written):
    source, state = training_checkpoint(tmp_path)
    status, out, _ = tool('publish_model', source, tmp_path / target)
    path = Path(out.strip())
    assert status == 0
    assert path.name == f'{written}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth'
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


def test_publish_safetensors_and_what_is_not_plain(tool, tmp_path):
    source, state = training_checkpoint(tmp_path)
    path = publish(source, tmp_path / 'net.safetensors')
    assert re.fullmatch(r'net-[0-9a-f]{8}\.safetensors', path.name)
    assert_same_state(read_state_dict(path), state)
    content = torch.load(source, weights_only=True)
    content['meta']['dataset_meta'] = dict(classes=torch.ones(3))
    torch.save(content, source)
    assert read_file(publish(source, tmp_path / 'net.pth'))['meta'] == {}


# ---- inspect ------------------------------------------------------------------------------------------


def expanded(name):
    """A state dict of full shape on almost no memory."""
    with torch.device('meta'):
        shapes = zoo.build(name).state_dict()
    return {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in shapes.items()}


@pytest.mark.parametrize('name', ['resnet18', 'seresnext50_32x4d', 'scnet50_v1d', 'ini_resnet50_da'])
def test_inspect_names_the_model(tool, tmp_path, name):
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


# ---- bad input, and targets ---------------------------------------------------------------------------

TOOLS = {
    'convert_checkpoint': ('{source}', '{target}', '--to', 'timm'),
    'publish_model': ('{source}', '{target}'),
    'inspect_checkpoint': ('{source}',),
}


def bad_files(folder):
    good = save(folder, tiny('resnet18'), name='good.pth')
    half = Path(good).read_bytes()[: os.path.getsize(good) // 2]
    hostile = folder / 'made_hostile.pth'
    torch.save(Hostile(folder / 'created'), hostile)
    return {
        'missing': (None, 'there is no checkpoint'),
        'empty': (b'', 'is empty'),
        'web page': (PAGE, 'is a web page'),
        'half': (half, 'truncated'),
        'text': (b'no weights', 'no checkpoint'),
        'hostile': (hostile.read_bytes(), 'is refused: it holds more than tensors'),
    }


@pytest.mark.parametrize('kind', ['missing', 'empty', 'web page', 'half', 'text', 'hostile'])
@pytest.mark.parametrize('name', TOOLS)
def test_bad_files(tool, tmp_path, name, kind):
    content, message = bad_files(tmp_path)[kind]
    source, target = tmp_path / 'bad' / 'in.pth', tmp_path / 'bad' / 'out.pth'
    source.parent.mkdir()
    if content is not None:
        source.write_bytes(content)
    target.write_text('of value')
    arguments = [part.format(source=source, target=target) for part in TOOLS[name]]
    status, out, error = tool(name, *arguments, *(['--force'] if 'target' in str(TOOLS[name]) else []))
    assert (status, out) == (2, '')
    assert re.fullmatch(rf'error: .*in\.pth.*{message}.*\n|error: {message} .*in\.pth\n', error)
    assert target.read_text() == 'of value'
    assert set(folder_of(target)) <= {'in.pth', 'out.pth'}
    assert not (tmp_path / 'created').exists()


def test_weights_of_another_architecture(tool, tmp_path):
    path = save(tmp_path, {'features.0.weight': torch.ones(2), 'classifier.weight': torch.ones(2)})
    status, _, error = tool('convert_checkpoint', path, tmp_path / 'out.pth', '--to', 'timm')
    assert status == 2
    assert error.endswith("holds no backbone known here; its names start with ['classifier', 'features']\n")


def test_an_existing_target_is_kept(tool, tmp_path):
    source, target = save(tmp_path, tiny('resnet18')), tmp_path / 'out.pth'
    target.write_text('of value')
    status, _, error = tool('convert_checkpoint', source, target, '--to', 'timm')
    assert (status, error) == (2, f'error: {target} is there already; --force overwrites it\n')
    assert target.read_text() == 'of value'
    assert tool('convert_checkpoint', source, target, '--to', 'timm', '--force')[0] == 0
    assert len(read_state_dict(target)) == 120
    published = Path(tool('publish_model', source, target)[1].strip())
    status, _, error = tool('publish_model', source, target)
    assert (status, error) == (2, f'error: {published} is there already; --force overwrites it\n')
    assert tool('publish_model', source, target, '--force')[0] == 0


def test_targets_that_cannot_be(tool, tmp_path):
    source = save(tmp_path, tiny('resnet18'))
    error = tool('convert_checkpoint', source, tmp_path / 'none' / 'out.pth', '--to', 'timm')[2]
    assert error == f'error: there is no folder {tmp_path / "none"}\n'
    error = tool('convert_checkpoint', source, tmp_path, '--to', 'timm', '--force')[2]
    assert error == f'error: {tmp_path} is a folder\n'


@pytest.mark.parametrize('step', ['write_bytes', 'replace'])
def test_a_full_disk_leaves_the_target(tool, tmp_path, monkeypatch, step):
    source, target = save(tmp_path, tiny('resnet18')), tmp_path / 'out.pth'
    target.write_text('of value')

    def full(self, *args):
        if step == 'write_bytes':
            self.touch()
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Path, step, full)
    status, _, error = tool('convert_checkpoint', source, target, '--to', 'timm', '--force')
    assert (status, error) == (2, f'error: cannot write {target}: No space left on device\n')
    assert target.read_text() == 'of value'
    assert folder_of(target) == ['out.pth', 'weights.pth']


@pytest.mark.parametrize('option', ['--to', '--from'])
def test_unknown_layouts(tool, tmp_path, option):
    status, _, error = tool('convert_checkpoint', 'a.pth', 'b.pth', '--to', 'timm', option, 'caffe')
    assert status == 2
    assert re.search(r"invalid choice: 'caffe' \(choose from .*timm_legacy.*mmpose_scnet", error)


def test_trust(tool, tmp_path):
    path = tmp_path / 'in.pth'
    torch.save(dict(state_dict=expanded('resnet18'), meta=Hostile(tmp_path / 'created')), path)
    assert tool('inspect_checkpoint', path)[0] == 2
    assert not (tmp_path / 'created').exists()
    assert tool('inspect_checkpoint', path, '--trust')[0] == 0
    assert (tmp_path / 'created').exists()


@pytest.mark.slow
def test_from_another_folder_by_its_path(tmp_path):
    save(tmp_path, tiny('resnet18'))
    command = [sys.executable, str(ROOT / 'tools' / 'inspect_checkpoint.py'), 'weights.pth']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith('file: weights.pth, ')
