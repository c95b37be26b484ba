"""``python -m inimg_mm configs`` finds, lists and copies the configs of a checkout and of a wheel."""

import errno
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from mmengine.config import Config

from inimg_mm import carried as places
from inimg_mm import catalogue
from inimg_mm.__main__ import main
from inimg_mm.catalogue.copying import next_steps
from inimg_mm.catalogue.metafiles import describe, update_metafiles
from inimg_mm.errors import UsageError
from inimg_mm.launch import load_config

ROOT = Path(__file__).resolve().parents[2]
NAME = 'faster-rcnn_scnet50_fpn_1x_coco'


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


# ---- finding and listing -----------------------------------------------------------------------------


def test_listing_is_light():
    code = (
        'import runpy, sys\nsys.argv = ["inimg_mm", "configs"]\n'
        'try:\n    runpy.run_module("inimg_mm", run_name="__main__")\n'
        'finally:\n    print({"torch", "numpy", "mmengine"} & set(sys.modules))'
    )
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[-1] == 'set()'
    assert len(lines) == len(catalogue.entries()) + 2


def test_a_row(capsys):
    status, out, _ = run(capsys, 'configs', f'coco_detection/{NAME}')
    head, row, _ = out.splitlines()  # the third is the same config in Python
    assert status == 0
    cells = re.split(r' {2,}', row)
    assert cells[:4] == [f'coco_detection/{NAME}', 'mmdet', 'Faster R-CNN', 'SCNet-50']
    assert cells[4:] == ['41.76', '203.11', '1280x800', 'box AP (SCNet paper) 40.8']
    assert row.index('mmdet') == head.index('host')
    assert row.index('1280x800') == head.index('at W x H')


@pytest.mark.parametrize(
    ('pattern', 'expected'),
    [
        ('imagenet/scnet*-v1d*', {'imagenet/scnet50-v1d_8xb32_in1k'}),
        ('td-hm_scnet50_digits*', {'demo/td-hm_scnet50_digits-96x96'}),
        ('MASK-RCNN_SCNET101', {f'coco_instance/{name}' for name in (
            'cascade-mask-rcnn_scnet101_fpn_1x_coco', 'cascade-mask-rcnn_scnet101_fpn_2x_coco',
            'mask-rcnn_scnet101_fpn_1x_coco', 'mask-rcnn_scnet101_fpn_2x_coco')}),
        ('se-resnext', {'imagenet/se-x50-32x4d_32xb32_in1k'}),
    ],
)  # fmt: skip
def test_patterns(pattern, expected):
    assert {entry.id for entry in catalogue.find(pattern)} == expected


def test_hosts_and_tasks_are_patterns_too():
    assert {entry.task for entry in catalogue.find('mmseg')} == {'voc_semantic'}
    assert {entry.host for entry in catalogue.find('coco_keypoint')} == {'mmpose'}


@pytest.mark.parametrize(
    'arguments', [['faster_rcnn_scnet50'], ['--copy', 'faster_rcnn_scnet50_fpn_1x_coco']]
)
def test_nothing_found(arguments, capsys):
    status, out, err = run(capsys, 'configs', *arguments)
    assert (status, out) == (2, '')
    assert err.startswith('error: ')
    assert len(err.splitlines()) == 1
    assert NAME in err
    tasks = 'cifar, coco_detection, coco_instance, coco_keypoint, demo, imagenet, svhn, voc_semantic'
    assert f'the tasks are {tasks}' in err


def test_help_without_a_command(capsys):
    status, out, _ = run(capsys)
    assert status == 0
    assert 'configs' in out


def test_names():
    entry = catalogue.get(NAME)
    for name in (f'{NAME}.py', f'coco_detection/{NAME}', f'configs/coco_detection/{NAME}.py'):
        assert catalogue.get(name) == entry
    with pytest.raises(catalogue.CatalogueError, match='no config'):
        catalogue.get(f'imagenet/{NAME}')


def test_no_configs(monkeypatch, tmp_path):
    monkeypatch.setattr(places, 'PACKAGE', tmp_path / 'inimg_mm')
    with pytest.raises(UsageError, match='has no configs'):
        places.home()


# ---- writing metafiles ---------------------------------------------------------------------------------


def test_metafiles_are_written_once(tmp_path):
    configs, shown = tmp_path / 'configs', []
    shutil.copytree(ROOT / 'configs' / '_base_', configs / '_base_')
    (configs / 'demo').mkdir()
    for name in ('se-r18_digits', 'td-hm_scnet50_digits-96x96', 'td-hm_se-r18_digits-96x96'):
        shutil.copy(ROOT / 'configs' / 'demo' / f'{name}.py', configs / 'demo')
    written = [configs / 'demo' / 'metafile.yml', configs / 'model-index.yml']
    assert update_metafiles(configs, lambda path: shown.append(path.name)) == written
    assert len(shown) == 3
    assert update_metafiles(configs) == []
    content = catalogue.read_metafile(written[0])
    assert content['Models'] == [
        model
        for model in catalogue.read_metafile(ROOT / 'configs' / 'demo' / 'metafile.yml')['Models']
        if 'digits' in model['Name'] and 'rcnn' not in model['Name']
    ]
    assert [collection['Name'] for collection in content['Collections']] == ['SE', 'SCNet']
    assert catalogue.read_metafile(written[1]) == {'Import': ['demo/metafile.yml']}


def test_a_task_whose_data_is_not_known(tmp_path):
    path = tmp_path / 'lvis' / 'x.py'
    path.parent.mkdir()
    path.touch()
    with pytest.raises(UsageError, match=r'lvis/x\.py is in no folder whose data is known: imagenet, coco'):
        describe(path)


# ---- copying -----------------------------------------------------------------------------------------

RUNTIME = ('model', 'train_dataloader', 'val_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg')


@pytest.mark.parametrize(
    'name',
    [
        'faster-rcnn_se-r50-warm_fpn_1x_coco',
        'mask-rcnn_ini-r50_fpn_1x_coco_python',
        'scnet50-v1d_8xb32_in1k',
        'td-hm_ini-r50_8xb64-210e_coco-256x192',
        'fcn-8s_scnet50_4xb4-20k_voc12aug-512x512',
    ],
)
def test_copy_is_complete_in_itself(name, capsys, tmp_path, monkeypatch):
    entry = catalogue.get(name)
    pytest.importorskip(entry.host)
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, 'configs', '--copy', name)
    assert status == 0, err
    text = (tmp_path / f'{name}.py').read_text()
    for reference in ('_base_', 'import ', str(ROOT)):
        assert reference not in text
    copy, original = Config.fromfile(tmp_path / f'{name}.py').to_dict(), load_config(entry.path).to_dict()
    for key in RUNTIME:
        assert plain(copy[key]) == plain(original[key]), key
    assert 'work_dir' not in copy
    assert not {'train_pipeline', 'data_root', 'backbone', 'codec', 'norm_cfg'} & set(copy)
    steps = [line.strip() for line in out.splitlines()[1:]]
    assert steps == next_steps(entry, Path(f'{name}.py'))
    assert all(Path(step.split()[1]).is_file() for step in steps)
    last = f'iter_{entry.length}' if entry.host == 'mmseg' else f'epoch_{entry.length}'
    assert steps[2].endswith(f'work_dirs/{name}/{last}.pth')


def plain(node):
    """Without mmengine's notes of where a base is from."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items() if key != '_scope_'}
    return [plain(child) for child in node] if isinstance(node, list | tuple) else node


def test_copy_never_overwrites_unasked(capsys, tmp_path):
    dest = tmp_path / 'mine.py'
    dest.write_text('# mine\n')
    name = 'se-r18_digits'
    status, _, err = copy_or_exit(capsys, '--copy', name, dest)
    assert status == 2
    assert f'{dest} is there already' in err
    assert '--force' in err
    assert dest.read_text() == '# mine\n'
    status, out, _ = copy_or_exit(capsys, '--copy', name, dest, '--force')
    assert status == 0
    assert out.startswith(f'wrote {dest}')
    assert Config.fromfile(dest).model.backbone.type == 'inimg_mm.SEResNet'


@pytest.mark.parametrize(
    ('dest', 'message'),
    [('mine.txt', r'is a \.py file, and .*mine\.txt is none'), ('no/mine.py', 'there is no folder .*no')],
)
def test_copy_to_a_bad_place(dest, message, capsys, tmp_path):
    status, _, err = copy_or_exit(capsys, '--copy', 'se-r18_digits', tmp_path / dest)
    assert status == 2
    assert re.search(message, err)


def test_copy_that_cannot_be_written(capsys, tmp_path, monkeypatch):
    """It is one line, and what --force was to replace is as it was."""
    dest = tmp_path / 'mine.py'
    dest.write_text('# mine\n')

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'replace', full)
    status, _, err = copy_or_exit(capsys, '--copy', 'se-r18_digits', dest, '--force')
    assert status == 2
    assert err == f'error: cannot write {dest}: {os.strerror(errno.ENOSPC)}\n'
    assert dest.read_text() == '# mine\n'
    if Path('/proc').is_dir():  # where not even root may write
        status, _, err = copy_or_exit(capsys, '--copy', 'se-r18_digits', '/proc/mine.py')
        assert status == 2
        assert err.startswith('error: cannot write into the folder /proc: ')


@pytest.mark.parametrize('arguments', [['imagenet', '--copy', 'x'], ['--copy', 'a', 'b.py', 'c.py']])
def test_copy_takes_one_config(arguments, capsys):
    status, _, err = copy_or_exit(capsys, *arguments)
    assert status == 2
    assert 'the NAME of one config' in err


def test_copy_without_the_host(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet', None)
    status, _, err = copy_or_exit(capsys, '--copy', NAME, tmp_path)
    assert status == 2
    assert "needs mmdet, which is not installed: pip install 'inimg-mm[mm]'" in err
    assert list(tmp_path.iterdir()) == []


def copy_or_exit(capsys, *arguments):
    try:
        return run(capsys, 'configs', *arguments)
    except SystemExit as end:
        return end.code, *capsys.readouterr()


# ---- the model index, the wheel, the source distribution -----------------------------------------------


def read_index(path):
    modelindex = pytest.importorskip('modelindex.load_model_index', reason='comes with mmpretrain')
    index = modelindex.load(str(path))
    assert not index.check_errors
    return {model.name: model.full_model for model in index.models}


def test_model_index():
    models = read_index(ROOT / 'configs' / 'model-index.yml')
    assert len(models) == len(catalogue.entries())
    model = models['scnet50_4xb64_in1k']
    assert model.config == 'configs/imagenet/scnet50_4xb64_in1k.py'
    assert model.metadata.parameters == 25_564_584
    assert model.weights.endswith('scnet50-dc6a7e87.pth')
    assert 'Self-Calibrated' in model.paper['Title']
    (result,) = model.results
    assert result.metrics == {'Top 1 Accuracy (paper)': 77.8}


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
    """A copy of what a checkout has, in which an earlier build left a config that is no more."""
    root = tmp_path_factory.mktemp('sources')
    ignore = shutil.ignore_patterns('__pycache__')
    for name in ('inimg_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, root)
    left = root / 'build' / 'lib' / 'inimg_mm' / '.mim' / 'configs' / 'left_over.py'
    left.parent.mkdir(parents=True)
    left.touch()
    return root


@pytest.fixture(scope='module')
def wheel(sources, tmp_path_factory):
    """The wheel, unpacked."""
    out, unpacked = tmp_path_factory.mktemp('wheel'), tmp_path_factory.mktemp('unpacked')
    command = ['-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', out, '.']
    subprocess.run([sys.executable, *command], check=True, cwd=sources)
    (file,) = out.glob('*.whl')
    zipfile.ZipFile(file).extractall(unpacked)
    return unpacked


def from_wheel(wheel, tmp_path, *arguments):
    """Run Python on the unpacked wheel alone."""
    env = {'PYTHONPATH': str(wheel), 'PATH': '', 'HOME': str(tmp_path)}
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', *map(str, arguments)],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def carried(folder):
    """The files of configs/ and tools/ that are for users, relative to where those are."""
    return sorted(
        str(path.relative_to(folder))
        for name in ('configs', 'tools')
        for path in (folder / name).rglob('*')
        if path.suffix in ('.py', '.sh', '.yml', '.md') and '__pycache__' not in path.parts
    )


def test_wheel_has_every_config_and_tool(wheel, sources):
    assert carried(wheel / 'inimg_mm' / '.mim') == carried(sources)
    assert set(read_index(wheel / 'inimg_mm' / '.mim' / 'model-index.yml')) == {
        entry.name for entry in catalogue.entries()
    }


def test_configs_from_the_wheel(wheel, tmp_path):
    listed = from_wheel(wheel, tmp_path, '-m', 'inimg_mm', 'configs')
    assert listed == catalogue.listing(catalogue.find()) + '\n'
    out = from_wheel(wheel, tmp_path, '-m', 'inimg_mm', 'configs', '--copy', f'{NAME}_python')
    check = f'{wheel}/inimg_mm/.mim/tools/check_config.py'
    assert f'python {check} {NAME}_python.py' in out
    assert Config.fromfile(tmp_path / f'{NAME}_python.py').model.backbone.depth == 50


@pytest.mark.slow
def test_a_copy_from_the_wheel_is_checked_by_its_tools(wheel, tmp_path):
    from_wheel(wheel, tmp_path, '-m', 'inimg_mm', 'configs', '--copy', 'se-r18_digits', 'mine.py')
    check = wheel / 'inimg_mm' / '.mim' / 'tools' / 'check_config.py'
    out = from_wheel(wheel, tmp_path, check, 'mine.py', '--size', 64, 64)
    assert 'one, with a loss of' in out


@pytest.mark.slow
def test_a_base_by_scope_from_the_wheel(wheel, tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'inimg_mm::demo/se-r18_digits'\n")
    read = (
        "from inimg_mm.launch.configs import load_config; print(load_config('mine.py').model.backbone.type)"
    )
    assert from_wheel(wheel, tmp_path, '-c', read) == 'inimg_mm.SEResNet\n'


def test_source_distribution_can_be_built_from(sources, tmp_path):
    subprocess.run([sys.executable, 'setup.py', '-q', 'sdist', '-d', tmp_path], check=True, cwd=sources)
    (file,) = tmp_path.glob('*.tar.gz')
    with tarfile.open(file) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    assert set(carried(sources)) <= names
    assert {'setup.py', 'pyproject.toml', 'README.md', 'LICENSE', 'inimg_mm/zoo/models.py'} <= names
