"""Ablations: a grid is checked whole, trained once, and compared by formulas of others."""

import csv
import json
import math

import numpy as np
import pytest
import yaml

pytest.importorskip('matplotlib', reason='plots need matplotlib (extra demo)')
pytest.importorskip('mmpretrain', reason='the grid trains a classifier of mmpretrain (extra mm)')

from PIL import Image

from helpers.checkpoint_tools import tool
from helpers.small_training import QUICK
from helpers.tooling import CONFIGS, QUICKEST
from inimg_mm.errors import UsageError
from inimg_mm.launch.configs import load_config
from inimg_mm.studies import ablation
from inimg_mm.studies.ablation import Run, ablate, runs_of
from inimg_mm.studies.ablation_grid import Cell, arguments_of, read_grid, set_value
from inimg_mm.studies.ablation_table import csv_lines, difference, markdown, summarise
from inimg_mm.visualization.ablation_plot import plot_ablation
from inimg_mm.zoo.complexity import measure

GRID = dict(
    config=str(CONFIGS[QUICKEST]),
    seeds=[0, 1],
    common=QUICK,
    variants={'plain': None, 'SE': {'model.backbone.attention': dict(type='SE')}},
)


@pytest.fixture
def grid(folder, monkeypatch, tmp_path):
    """Write a grid's file, in a folder with the demo data; returns its path."""
    monkeypatch.chdir(folder)

    def write(**changes):
        content = {key: value for key, value in {**GRID, **changes}.items() if value is not None}
        path = tmp_path / 'grid.yml'
        path.write_text(yaml.safe_dump({'work_dir': str(tmp_path / 'runs'), **content}, sort_keys=False))
        return path

    return write


# ---- reading and checking -------------------------------------------------------------------------------


def test_cells_are_every_combination(grid):
    axes = {
        'model.backbone.depth': [18],
        'optim_wrapper.optimizer.lr': {'slow': 1e-4, 'fast': 1e-2},
    }
    found = read_grid(grid(grid=axes, baseline='SE, depth=18, slow'))
    names = [cell.name for cell in found.cells]
    assert names[0] == 'SE, depth=18, slow'
    assert sorted(names) == sorted(
        f'{variant}, depth=18, {rate}' for variant in ('plain', 'SE') for rate in ('slow', 'fast')
    )
    cell = next(cell for cell in found.cells if cell.name == 'plain, depth=18, fast')
    assert (cell.cfg.model.backbone.depth, cell.cfg.optim_wrapper.optimizer.lr) == (18, 1e-2)
    assert cell.cfg.train_cfg.max_epochs == 1
    assert 'attention' not in cell.cfg.model.backbone


def test_sizes_are_the_nets(grid):
    plain, gated = read_grid(grid()).cells
    for cell, attention in ((plain, None), (gated, dict(type='SE'))):
        options = dict(base_channels=16, stem_channels=16, attention=attention)
        expected = measure('resnet18', 64, 10, **options)
        assert (cell.params, cell.macs) == (expected.params, expected.macs)


def test_a_value_takes_the_whole_place():
    cfg = load_config(CONFIGS[QUICKEST], {'model.backbone.attention': dict(type='SE', bias=False)})
    set_value(cfg, 'model.backbone.attention', dict(type='CMPESE'), 'x')
    assert cfg.model.backbone.attention == dict(type='CMPESE')
    set_value(cfg, 'test_dataloader.dataset.pipeline.1.scale', 32, 'x')
    assert cfg.test_dataloader.dataset.pipeline[1]['scale'] == 32
    set_value(cfg, 'resume', True, 'x')  # an argument of the runner
    assert cfg.resume is True
    for key in (
        'optim_wrapper.paramwise_cfg',
        'optim_wrapper.accumulative_counts',
        'train_dataloader.pin_memory',
    ):
        set_value(cfg, key, 1, 'x')
    set_value(cfg, 'train_dataloader.dataset.extensions', ['png'], 'x')  # which the data set takes


def test_arguments_that_a_class_hands_on_are_its_own():
    from inimg_mm.models.backbones import SEResNeXt

    assert {'depth', 'groups', 'attention', 'with_cp', 'dcn'} <= arguments_of(SEResNeXt)
    assert 'widht' not in arguments_of(SEResNeXt)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'variants': {'a': {'modle.backbone.depth': 18}}}, "no 'modle.backbone.depth'; it has model"),
        ({'variants': {'a': {'model.backbone.dept': 18}}}, 'model.backbone has depth'),
        ({'variants': {'a': {'optim_wrapper.optimizer.lrr': 1}}}, "cell 'a': the config has no"),
        ({'common': {'train_cfg.epochs': 1}}, "'train_cfg.epochs'"),
        ({'grid': {'test_dataloader.dataset.pipeline.9.scale': [1]}}, 'pipeline.9.scale'),
        ({'variants': {'a': {'model.backbone.depth': 19}}}, "cell 'a' cannot be built: "),
        ({'variants': {'a': {'model.backbone.attention': {'type': 'SEE'}}}}, "cell 'a' cannot be built: "),
        ({'variants': {'a': {'model.head.in_channels': 7}}}, "cell 'a' is built, and cannot run: "),
        ({'variants': {'a': {'data_root': 'x', 'test_dataloader.dataset.data_root': 'nowhere'}}}, 'nowhere'),
        ({'grid': {'model.backbone.depth': [18, 18]}}, 'two cells of the same name'),
        ({'baseline': 'none'}, "no cell 'none' as its baseline"),
        ({'seeds': [0, 0]}, 'different whole numbers'),
        ({'seeds': [0.5]}, 'different whole numbers'),
        ({'gird': {}}, "says 'gird', which a grid has not"),
        ({'variants': None}, 'nothing to compare'),
        ({'variants': {'a': 3}}, 'variant a'),
        ({'grid': {'model.backbone.depth': 18}}, 'a list of values'),
        ({'config': 'none.py'}, 'there is no config file'),
    ],
    ids=str,
)
def test_a_grid_is_checked_whole(grid, changes, message):
    with pytest.raises(UsageError) as error:
        read_grid(grid(**changes))
    assert message in str(error.value)
    assert '\n' not in str(error.value)


def test_a_file_that_is_no_grid(tmp_path):
    path = tmp_path / 'grid.yml'
    for text in ('a: [', '- 1', 'seeds: [1]'):
        path.write_text(text)
        status, _, error = tool('ablate', path)
        assert (status, error.count('\n')) == (2, 1)
        assert str(path) in error
    status, _, error = tool('ablate', tmp_path / 'none.yml')
    assert 'cannot read the grid' in error


# ---- training -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures('on_cpu')
def test_a_grid_is_trained_once_and_goes_on(grid, tmp_path, monkeypatch):
    path = grid(seeds=[3])
    status, out, error = tool('ablate', path)
    assert status == 0, error
    runs = tmp_path / 'runs'
    with (runs / 'runs.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [(row['cell'], row['seed']) for row in rows] == [('plain', '3'), ('SE', '3')]
    assert (runs / 'table.md').read_text() in out
    assert np.asarray(Image.open(runs / 'ablation.png').convert('RGBA'))[..., 3].min() == 255
    seeds = [load_config(runs / name / 'seed3' / 'run.py').randomness.seed for name in ('plain', 'SE')]
    assert seeds == [3, 3]
    before = json.loads((runs / 'SE' / 'seed3' / 'result.json').read_text())

    (runs / 'SE' / 'seed3' / 'result.json').unlink()  # as if killed before the test
    trained = []
    apart = ablation._train_apart
    monkeypatch.setattr(ablation, '_train_apart', lambda run, *rest: trained.append(run) or apart(run, *rest))
    ablate(read_grid(path))
    assert [run.cell.name for run in trained] == ['SE']
    after = json.loads((runs / 'SE' / 'seed3' / 'result.json').read_text())
    assert after['metrics']['accuracy/top1'] == before['metrics']['accuracy/top1']
    assert after['images'] == 10
    assert 'resumed epoch: 1' in (runs / 'SE' / 'seed3' / 'output.txt').read_text()


def finish(run, value, images=2000):
    run.folder.mkdir(parents=True, exist_ok=True)
    result = dict(metrics={'accuracy/top1': value}, images=images, seconds=1.0)
    (run.folder / 'result.json').write_text(json.dumps(result))


def test_what_is_finished_is_not_redone_and_failures_are_named(grid, monkeypatch):
    found = read_grid(grid())
    trained = []

    def fake(run, device, children):
        trained.append((run.cell.name, run.seed))
        if run.seed == 1 and run.cell.name == 'SE':
            return 1
        finish(run, 50.0)
        return 0

    monkeypatch.setattr(ablation, '_train_apart', fake)
    with pytest.raises(UsageError, match=r'1 of 4 trainings failed, see .*SE/seed1/output.txt'):
        ablate(found)
    assert trained == [('plain', 0), ('SE', 0), ('plain', 1), ('SE', 1)]
    trained.clear()
    with pytest.raises(UsageError):
        ablate(found)
    assert trained == [('SE', 1)]


def test_gpus_have_a_run_each(grid, monkeypatch):
    found = read_grid(grid(seeds=[0, 1, 2]))
    used = []

    def fake(run, device, children):
        used.append(device)
        finish(run, 50.0)
        return 0

    monkeypatch.setattr(ablation, '_train_apart', fake)
    monkeypatch.setattr(ablation.torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,7')
    ablate(found)
    assert len(used) == 6
    assert set(used) <= {'4', '7'}


def test_a_folder_of_another_config_is_refused(grid, monkeypatch):
    monkeypatch.setattr(ablation, '_train_apart', lambda run, *rest: finish(run, 50.0) or 0)
    ablate(read_grid(grid()))
    changed = {**GRID['common'], 'optim_wrapper.optimizer.lr': 0.5}
    with pytest.raises(UsageError, match='has a run of another config'):
        ablate(read_grid(grid(common=changed)))


def test_seeds_change_the_seed_alone(grid):
    one, _, other, _ = runs_of(read_grid(grid()))
    a, b = one.cfg.to_dict(), other.cfg.to_dict()
    assert (a.pop('randomness')['seed'], b.pop('randomness')['seed']) == (0, 1)
    assert a.pop('work_dir') != b.pop('work_dir')
    assert a == b
    assert one.digest != other.digest


# ---- what came out --------------------------------------------------------------------------------------

SCORES = {'none': [50.0, 52.0, 51.0], 'SE': [52.0, 53.5, 53.0], 'InI': [51.0, 50.0, 54.0]}


@pytest.fixture
def runs(tmp_path):
    made = []
    for number, name in enumerate(SCORES):
        cell = Cell(name, {'depth': 18, 'gate': name}, None, 1_000_000 * (number + 1), 5_000_000)
        made += [Run(cell, seed, tmp_path / name / str(seed)) for seed in range(3)]
    for run in made:
        finish(run, SCORES[run.cell.name][run.seed])
    return made


def test_intervals_are_scipys(runs):
    stats = pytest.importorskip('scipy.stats')
    metric, rows = summarise(runs)
    assert metric == 'accuracy/top1'
    for row in rows[1:]:
        test = stats.ttest_rel(SCORES[row.cell.name], SCORES['none'])
        low, high = test.confidence_interval(0.95)
        assert row.difference.mean - row.difference.margin == pytest.approx(low)
        assert row.difference.mean + row.difference.margin == pytest.approx(high)
        assert row.difference.is_clear == (test.pvalue < 0.05)
    assert [row.deviation for row in rows] == pytest.approx([np.std(v, ddof=1) for v in SCORES.values()])


def test_seeds_that_only_one_has_are_not_compared(runs):
    assert difference({0: 2.0, 1: 5.0, 7: 100.0}, {0: 1.0, 1: 2.0, 3: 0.0}).mean == 2.0
    assert difference({0: 2.0}, {0: 1.0}) == (1.0, None)
    assert difference({0: 2.0}, {1: 1.0}) is None
    (runs[-1].folder / 'result.json').unlink()
    _, rows = summarise(runs)
    assert rows[2].difference.mean == pytest.approx(-0.5)


def test_the_table(runs):
    metric, rows = summarise(runs)
    lines = markdown(metric, rows).splitlines()
    assert lines[2] == '| none | 1.000 M | 5.00 M | 3 | 51.000 ± 1.000 | – |'
    margin = 4.302653 * np.std([2.0, 1.5, 2.0], ddof=1) / math.sqrt(3)
    mean = 5.5 / 3
    assert lines[3].endswith(f'| +{mean:.3f} [+{mean - margin:.3f}, +{mean + margin:.3f}] * |')
    error = 100 * math.sqrt(0.51 * 0.49 / 2000)
    assert f'51.0 % a standard error of {error:.2f} points' in lines[-1]
    with pytest.raises(UsageError, match="gave no 'coco/AP'; it gave accuracy/top1"):
        summarise(runs, 'coco/AP')
    for run in runs:
        (run.folder / 'result.json').unlink()
    with pytest.raises(UsageError, match='no training of the grid is finished'):
        summarise(runs)


def test_the_csv_has_every_run(runs):
    rows = list(csv.DictReader(csv_lines(runs)))
    assert [float(row['accuracy/top1']) for row in rows] == [v for values in SCORES.values() for v in values]
    assert list(rows[0])[:6] == ['cell', 'seed', 'gate', 'parameters', 'multiply_adds', 'test_images']


def test_the_plot_has_means_and_deviations(runs, tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn = []
    errorbar = Axes.errorbar
    monkeypatch.setattr(
        Axes, 'errorbar', lambda axes, x, y, **o: drawn.append((x, y, o['yerr'])) or errorbar(axes, x, y, **o)
    )
    metric, rows = summarise(runs)
    path = plot_ablation(metric, rows, tmp_path / 'plot.png', 'title')
    expected = [(n + 1, np.mean(v), np.std(v, ddof=1)) for n, v in enumerate(SCORES.values())]
    np.testing.assert_allclose(drawn, expected)
    assert Image.open(path).size[0] > 800
