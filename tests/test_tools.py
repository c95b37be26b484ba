"""The tools: any host's configs train, test and draw; mistakes are one line and status 2."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='the tools launch the hosts (extra mm)')
pytest.importorskip('mmpretrain', reason='the tools launch the hosts (extra mm)')

from mmengine.config import Config
from mmengine.optim import OptimWrapper

from helpers.tooling import (
    CONFIGS,
    DETECTOR,
    QUICKEST,
    ROOT,
    TOOLS,
    TWO_ITERATIONS,
    assert_refused,
    call_tool,
    run,
    run_tool,
)
from inimg_mm import launch
from inimg_mm.errors import UsageError
from inimg_mm.launch import added_hooks, cli, mixed_precision, runs
from inimg_mm.studies import demo_report as report

CELLS = ROOT.parent / 'shared' / 'data' / 'bccd'

needs_cells = pytest.mark.skipif(not CELLS.is_dir(), reason='no blood cells in ../shared/data/bccd')


@pytest.fixture(params=CONFIGS)
def config(request):
    if request.param.startswith('td-hm'):
        pytest.importorskip('mmpose', reason='a keypoint config needs mmpose (extra pose)')
    return CONFIGS[request.param]


# ---- training and testing -------------------------------------------------------------------------------


@pytest.mark.slow
def test_train_test_and_draw(folder, config, tmp_path):
    output = run_tool(
        'train.py', config, '--work-dir', tmp_path / 'w', '--cfg-options', *TWO_ITERATIONS, cwd=folder
    )
    assert 'Epoch(train) [1][2/' in ' '.join(output.split())
    tested = [tmp_path / 'w' / config.name, tmp_path / 'w' / 'epoch_1.pth']
    pictures, metrics = tmp_path / 'new' / 'pictures', tmp_path / 'w' / 'metrics.json'
    run_tool('test.py', *tested, '--show-dir', pictures, '--out', metrics, cwd=folder)
    assert any(path.suffix in ('.jpg', '.png') for path in pictures.rglob('*'))
    assert not any(path.name == 'vis_image' for path in tmp_path.rglob('*'))
    assert report.METRICS.keys() & json.loads(metrics.read_text()).keys()

    row = report.summarise(tmp_path / 'w')
    backbone = launch.load_config(config).model.backbone
    assert row.backbone == f'{backbone.type.removeprefix("inimg_mm.")}-{backbone.depth}'
    assert 0 < row.backbone_params <= row.params
    assert row.seconds > 0
    sheet = tmp_path / 'sheet.png'
    output = run_tool('contact_sheet.py', *tested, '--out', sheet, '--num-images', 2, cwd=folder)
    assert str(sheet) in output
    assert sheet.stat().st_size > 10_000


@pytest.mark.slow
def test_hosts_own_launch_scripts_train(folder, config, tmp_path):
    assert 'import' not in config.read_text()
    host = launch.load_config(config).default_scope
    script = Path(importlib.util.find_spec(host).origin).parent / '.mim' / 'tools' / 'train.py'
    options = ['--work-dir', tmp_path, '--cfg-options', *TWO_ITERATIONS]
    run(sys.executable, '-W', 'ignore', script, config, *options, cwd=folder)
    assert (tmp_path / 'epoch_1.pth').is_file()


@pytest.mark.slow
def test_resume_goes_on(folder, tmp_path):
    arguments = [CONFIGS[QUICKEST], '--work-dir', tmp_path, '--resume', '--cfg-options', *TWO_ITERATIONS]
    run_tool('train.py', *arguments, cwd=folder)
    output = run_tool('train.py', *arguments, 'train_cfg.max_epochs=2', cwd=folder)
    assert 'resumed epoch: 1' in output
    assert 'Epoch(train) [1]' not in ' '.join(output.split())
    first = tmp_path / 'epoch_1.pth'
    (tmp_path / 'epoch_2.pth').unlink()
    arguments[3:4] = ['--resume', first]
    assert 'resumed epoch: 1' in run_tool('train.py', *arguments, 'train_cfg.max_epochs=2', cwd=folder)
    assert (tmp_path / 'epoch_2.pth').is_file()


@pytest.mark.slow
@needs_cells
def test_own_data_from_the_command_line(tmp_path):
    data = [
        '--data-root',
        CELLS,
        '--classes',
        'RBC',
        'WBC',
        '--data-options',
        'image_scale=160,120',
        'flip=0.5',
    ]
    indices = [f'{loader}_dataloader.dataset.indices=8' for loader in ('train', 'val')]
    options = [
        '--work-dir',
        tmp_path / 'w',
        '--cfg-options',
        *TWO_ITERATIONS,
        *indices,
        'train_cfg.val_interval=2',
    ]
    run_tool('train.py', CONFIGS[DETECTOR], *data, *options, cwd=tmp_path)
    trained = launch.load_config(tmp_path / 'w' / f'{DETECTOR}.py')
    assert trained.model.roi_head.bbox_head.num_classes == 2
    assert trained.train_dataloader.dataset.metainfo['classes'] == ('RBC', 'WBC')
    assert (tmp_path / 'w' / 'epoch_1.pth').is_file()


@pytest.mark.slow
def test_demo_smoke(tmp_path):
    pytest.importorskip('sklearn', reason='the demo data needs scikit-learn (extra demo)')
    pytest.importorskip('skimage', reason='the demo data needs scikit-image (extra demo)')
    command = [TOOLS / 'demo.sh', '--smoke', '--no-install', '--work-dir', tmp_path / 'demo']
    output = run(*command, cwd=tmp_path, PYTHON=sys.executable)
    for part in ('Epoch(train)', 'box mAP', 'CMPESEResNet-18', 'numbers mean nothing'):
        assert part in output
    sheet = tmp_path / 'demo' / DETECTOR / 'contact_sheet.png'
    assert f'ground truth: {sheet}' in output
    before = sheet.stat().st_mtime_ns
    again = run(*command, cwd=tmp_path, PYTHON=sys.executable)
    assert again.count('reused') == 3
    assert 'Epoch' not in again
    assert sheet.stat().st_mtime_ns == before


# ---- what a config becomes ------------------------------------------------------------------------------


def test_work_dir(config, tmp_path):
    assert launch.load_config(config).work_dir == str(Path('work_dirs', config.stem))
    assert launch.load_config(config, {'work_dir': 'b'}, work_dir='a').work_dir == 'b'
    assert launch.load_config(config, work_dir=tmp_path).work_dir == str(tmp_path)


def test_mmpretrain_loaders_get_the_hosts_defaults():
    cfg = launch.load_config(CONFIGS[QUICKEST])
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].pop('collate_fn', None)
        cfg[name].pop('persistent_workers', None)
    cfg.val_dataloader.num_workers = 0
    cfg.test_dataloader.pin_memory = 'kept'
    runs.fill_in_loaders(cfg)
    assert cfg.train_dataloader.collate_fn.type == 'default_collate'
    assert (cfg.train_dataloader.persistent_workers, cfg.val_dataloader.persistent_workers) == (True, False)
    assert cfg.test_dataloader.pin_memory == 'kept'


@pytest.mark.parametrize(
    ('scope', 'folder_key'),
    [
        ('mmdet', ('default_hooks', 'visualization', 'test_out_dir')),
        ('mmpretrain', ('default_hooks', 'visualization', 'out_dir')),
        ('mmpose', ('default_hooks', 'visualization', 'out_dir')),
        ('mmseg', ('visualizer', 'save_dir')),
    ],
)
def test_show_dir_goes_to_the_hosts_hook(scope, folder_key, tmp_path):
    cfg = Config(
        dict(
            default_scope=scope,
            default_hooks=dict(visualization=dict(type='Mine')),
            visualizer=dict(type='V'),
        )
    )
    added_hooks.draw_to(cfg, tmp_path / 'a' / 'b')
    assert (tmp_path / 'a' / 'b').is_dir()
    assert cfg.default_hooks.visualization.type == 'Mine'
    assert cfg.visualizer.type == 'V'
    node = cfg
    for key in folder_key:
        node = node[key]
    assert node == str(tmp_path / 'a' / 'b')


@pytest.mark.parametrize('kind', ['OptimWrapper', 'mmengine.OptimWrapper', OptimWrapper], ids=str)
def test_amp_takes_the_plain_wrappers_place(monkeypatch, kind):
    monkeypatch.setattr(mixed_precision, 'get_device', lambda: 'cuda')
    cfg = launch.load_config(CONFIGS[DETECTOR], {'optim_wrapper.type': kind})
    mixed_precision.use_amp(cfg)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')
    cfg.optim_wrapper.type = 'OtherWrapper'
    with pytest.raises(UsageError, match='OtherWrapper'):
        mixed_precision.use_amp(cfg)


def test_training_seconds_add_up(tmp_path):
    line = '2026/01/01 {} - mmengine - INFO - {}\n'
    for name, text, end in (
        ('a', 'Epoch(train)', '00:01:00'),
        ('b', 'Epoch(train)', '00:00:30'),
        ('c', 'Epoch(test)', '01:00:00'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / f'{name}.log').write_text(line.format('00:00:00', 'x') + line.format(end, text))
    assert report.training_seconds(tmp_path) == 90


# ---- mistakes -------------------------------------------------------------------------------------------


def test_missing_config(monkeypatch, capsys):
    assert_refused(monkeypatch, capsys, 'train.py', 'nowhere/x.py', message='no config file nowhere/x.py')


def test_missing_checkpoint(monkeypatch, capsys, tmp_path):
    config, missing = CONFIGS[QUICKEST], tmp_path / 'x.pth'
    for command in (
        ['test.py', config, missing],
        ['train.py', config, '--resume', missing],
        ['contact_sheet.py', config, missing],
    ):
        assert_refused(monkeypatch, capsys, *command, message=f'no checkpoint {missing}')


def test_missing_data(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert_refused(
        monkeypatch, capsys, 'train.py', CONFIGS[DETECTOR], message=['train_dataloader', 'make_demo_data.py']
    )
    assert_refused(
        monkeypatch,
        capsys,
        'train.py',
        CONFIGS[DETECTOR],
        '--data-root',
        'mine',
        message="data_root 'mine' is not a folder",
    )


def test_missing_files_of_a_validation(monkeypatch, capsys, folder, tmp_path):
    """Before the training, and not behind its first epoch."""
    monkeypatch.chdir(folder)
    for setting, reader in (
        ('val_evaluator.ann_file', 'val_evaluator'),
        ('val_dataloader.dataset.bbox_file', 'val_dataloader'),  # of mmpose
    ):
        options = ['--work-dir', tmp_path, '--cfg-options', f'{setting}=nowhere.json']
        message = f'the {reader} reads nowhere.json, which is not there'
        assert_refused(monkeypatch, capsys, 'train.py', CONFIGS[DETECTOR], *options, message=message)


def test_unknown_data_option(monkeypatch, capsys, tmp_path):
    arguments = [CONFIGS[DETECTOR], '--data-root', tmp_path, '--data-options', 'colour=red']
    assert_refused(monkeypatch, capsys, 'train.py', *arguments, message=["'colour'", 'image_scale', 'repeat'])


def test_classes_without_data(monkeypatch, capsys):
    assert_refused(
        monkeypatch, capsys, 'train.py', CONFIGS[DETECTOR], '--classes', 'a', message='--data-root'
    )


def test_no_default_scope(monkeypatch, capsys, tmp_path):
    config = tmp_path / 'x.py'
    config.write_text('model = dict()\n')
    assert_refused(monkeypatch, capsys, 'train.py', config, message=['default_scope', 'mmdet'])


def test_missing_host(monkeypatch, capsys, tmp_path):
    find_spec = importlib.util.find_spec
    missing = {'mmdet', 'mmpose', 'mmseg', 'mmnone'}
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name, *rest: None if name in missing else find_spec(name, *rest)
    )
    config = tmp_path / 'x.py'
    for scope, extra in (
        ('mmdet', '[mm]'),
        ('mmpose', '[pose]'),
        ('mmseg', '[seg]'),
        ('mmnone', 'not installed'),
    ):
        config.write_text(f'default_scope = {scope!r}\n')
        assert_refused(monkeypatch, capsys, 'train.py', config, message=[f'needs {scope}', extra])
    config.write_text("_base_ = 'mmdet::_base_/default_runtime.py'\n")
    assert_refused(monkeypatch, capsys, 'train.py', config, message=['needs mmdet', 'inimg-mm[mm]'])


@pytest.mark.usefixtures('on_cpu')
def test_what_a_cpu_cannot_do(monkeypatch, capsys, folder):
    monkeypatch.chdir(folder)
    config = CONFIGS[DETECTOR]
    assert_refused(monkeypatch, capsys, 'train.py', config, '--amp', message='--amp needs an accelerator')


@pytest.mark.parametrize('option', ['--cfg-options', '--data-options'])
def test_malformed_key_value(monkeypatch, capsys, option):
    for value in ('x', 'x=(1,'):
        with pytest.raises(SystemExit) as stop:
            call_tool(monkeypatch, 'train.py', 'x.py', option, value)
        assert stop.value.code == 2
        assert f'{option} takes KEY=VALUE' in capsys.readouterr().err


def test_a_mistake_in_the_model_is_one_line(monkeypatch, capsys, folder):
    monkeypatch.chdir(folder)
    arguments = [CONFIGS[QUICKEST], '--work-dir', folder / 'bad', '--cfg-options', 'model.backbone.depth=19']
    with pytest.raises(SystemExit) as stop:
        call_tool(monkeypatch, 'train.py', *arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith('error: SEResNet has no depth 19')


def test_bugs_keep_their_traceback():
    with pytest.raises(ValueError, match='not ours'), cli.mistakes_in_one_line():
        raise ValueError('not ours')
    with pytest.raises(KeyError), cli.mistakes_in_one_line():
        raise KeyError('bug')


def test_a_mistake_is_found_behind_another_error(capsys):
    def fail():
        try:
            raise UsageError('the mistake')
        except ValueError as error:
            raise RuntimeError('wrapped') from error

    with pytest.raises(SystemExit), cli.mistakes_in_one_line():
        fail()
    assert capsys.readouterr().err == 'error: the mistake\n'


@pytest.mark.parametrize(
    'name',
    [
        'ablate.py',
        'benchmark.py',
        'benchmark_launches.py',
        'compare_runs.py',
        'contact_sheet.py',
        'demo_report.py',
        'infer.py',
        'plot_activations.py',
        'plot_gates.py',
        'test.py',
        'test_ensemble.py',
        'train.py',
    ],
)
def test_help(monkeypatch, capsys, name):
    with pytest.raises(SystemExit) as stop:
        call_tool(monkeypatch, name, '--help')
    assert stop.value.code == 0
    assert 'usage:' in capsys.readouterr().out


def test_demo_refuses_unknown_arguments(tmp_path):
    done = subprocess.run([TOOLS / 'demo.sh', 'everything'], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "no 'everything'" in done.stderr
