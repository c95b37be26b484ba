"""Plots of gates: the values are the gates' own, the figures those of a loop, the pictures whole."""

import csv

import numpy as np
import pytest
import torch

pytest.importorskip('matplotlib', reason='plots need matplotlib (extra demo)')
pytest.importorskip('mmpretrain', reason='the models are of the hosts (extra mm)')
pytest.importorskip('mmdet', reason='the models are of the hosts (extra mm)')

from PIL import Image

from helpers.checkpoint_tools import tool
from helpers.tooling import CONFIGS, DETECTOR, QUICKEST
from inimg_mm import launch
from inimg_mm.errors import UsageError
from inimg_mm.inference.weights import load_model
from inimg_mm.launch.cli import names_of
from inimg_mm.models.attention import Gate
from inimg_mm.models.attention.plugins import SEPlugin
from inimg_mm.registry import build_model
from inimg_mm.visualization import gate_plots, gate_values
from inimg_mm.visualization.gate_values import ALL, Net, claims, figures, rank_correlation, recorded, stage_of
from inimg_mm.visualization.samples import TestSet

pytestmark = pytest.mark.usefixtures('on_cpu')


@pytest.fixture
def net(folder, untrained, monkeypatch):
    """The gates of a demo config's untrained model on the demo set."""
    monkeypatch.chdir(folder)

    def make(name, **drawn):
        cfg, checkpoint = launch.load_config(CONFIGS[name]), untrained(CONFIGS[name])
        return cfg, checkpoint, gate_values.gate_values(cfg, checkpoint, name, **drawn)

    return make


def test_values_are_those_of_the_gates(net):
    cfg, checkpoint, found = net(QUICKEST, classes=3, images=2, overall=4)
    model, tests = load_model(cfg, checkpoint), TestSet(cfg)
    labels = tests.labels()
    assert set(labels) == set(range(10))
    *classes, everything = found.groups
    assert len(classes) == 3
    assert everything == ALL
    block = model.backbone.layer3[1]
    seen = []
    handle = block.gate_module.register_forward_hook(lambda module, args, out: seen.append(out.flatten(1)))
    for index in range(len(tests)):
        with torch.no_grad():
            model.test_step(tests.batch([index]))
    handle.remove()
    values = torch.cat(seen).numpy()
    for name in classes:
        rows = found.values['layer3.1'][found.groups[name]]
        assert np.array_equal(rows, values[labels == tests.names.index(name)][: len(rows)])
    assert list(found.values) == [f'layer{s}.{b}' for s in range(1, 5) for b in range(2)]
    assert found.last_of_stages() == {f'layer{s}': f'layer{s}.1' for s in range(1, 5)}


def test_gates_inside_a_detector(net):
    cfg, _, found = net(DETECTOR, classes=2, images=2, overall=2)
    assert list(found.values)[0] == 'layer1.0'
    assert all(values.min() > 0 and values.max() < 1 for values in found.values.values())
    dataset = TestSet(cfg)
    largest = max(
        dataset.dataset.get_data_info(0)['instances'],
        key=lambda found: (found['bbox'][2] - found['bbox'][0]) * (found['bbox'][3] - found['bbox'][1]),
    )
    assert dataset.labels()[0] == largest['bbox_label']


def test_hosts_that_know_no_classes_show_all_images(folder, untrained, segmentation, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    pytest.importorskip('mmpose', reason='a keypoint config needs mmpose (extra pose)')
    for config in (segmentation, CONFIGS['td-hm_se-r18_digits-96x96']):
        cfg = launch.load_config(config)
        found = gate_values.gate_values(cfg, untrained(config), 'net', overall=2)
        assert list(found.groups) == [ALL]
        assert {values.shape[0] for values in found.values.values()} == {2}
        assert gate_plots.plot_gates([found], tmp_path)[0].is_file()


@pytest.mark.parametrize('name', [QUICKEST, DETECTOR])
def test_recording_changes_nothing_and_leaves_nothing(folder, untrained, monkeypatch, name):
    monkeypatch.chdir(folder)
    cfg = launch.load_config(CONFIGS[name])
    model = load_model(cfg, untrained(CONFIGS[name]))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = model.backbone(image)
        with recorded(model) as found:
            during = model.backbone(image)
        after = model.backbone(image)
    assert all(len(calls) == 1 for calls in found.values())
    for maps in (during, after):
        assert all(map(torch.equal, before, maps))
    gates = [module for module in model.modules() if isinstance(module, Gate)]
    assert not any(gate._forward_hooks or 'excite' in vars(gate) for gate in gates)


def test_a_plugins_gate_is_read_before_it_rescales():
    plugin = SEPlugin(32)
    x = torch.randn(2, 32, 4, 4)
    with recorded(torch.nn.ModuleDict({'layer1': torch.nn.ModuleDict({'se_layer': plugin})})) as found:
        out = plugin(x)
    assert torch.allclose(out, x * found['layer1'][0][..., None, None])


def test_figures_are_those_of_a_loop():
    values = np.random.default_rng(0).random((5, 7))
    mean = spread = steps = outside = 0.0
    for channel in range(7):
        column = [row[channel] for row in values]
        spread += np.sqrt(sum((v - sum(column) / 5) ** 2 for v in column) / 5) / 7
        for value in column:
            mean += value / 35
            outside += (value < 0.05 or value > 0.95) / 35
    for row in values:
        for channel in range(6):
            steps += abs(row[channel + 1] - row[channel]) / 30
    assert figures(values) == pytest.approx((mean, spread, steps, outside))


def test_rank_correlation_is_scipys():
    stats = pytest.importorskip('scipy.stats')
    values = [3.0, 1.0, 2.0, 2.0, 5.0, 8.0, 8.0]
    assert rank_correlation(values) == pytest.approx(stats.spearmanr(range(7), values)[0])
    assert np.isnan(rank_correlation([1.0, 1.0]))


def test_stages_of_all_families():
    names = ['layer3.5', 'layer10.0', 'Mixed_5b', 'gate']
    assert [stage_of(name) for name in names] == ['layer3', 'layer10', 'Mixed_5', 'gate']


def made_up(name, kind, level, rising):
    values = {}
    for depth in range(4):
        swing = 0.01 * (depth if rising else 3 - depth)
        values[f'layer{depth + 1}.0'] = level + swing * np.resize([1, -1], (2, 8))
    return Net(name, dict.fromkeys(values, kind), values, {ALL: np.arange(2)})


def test_the_papers_claims_are_found_or_not():
    ini, se = made_up('ini', 'InnerImaging', 0.3, rising=True), made_up('se', 'SE', 0.4, rising=False)
    lines = claims([ini, se])
    assert 'it does' in lines[0]
    assert 'correlation 1.00' in lines[0]
    assert 'the opposite' in lines[1]
    assert 'they do: 0.3000 in layer4.0 of ini, 0.4000 in layer4.0 of se' in lines[2]
    high = made_up('ini', 'InnerImaging', 0.5, rising=True)
    assert 'they do not' in claims([high, se])[2]
    assert 'needs a net with SE gates' in claims([ini])[1]


def test_the_tool_draws_and_writes(folder, untrained, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    words = [word for name in (QUICKEST, DETECTOR) for word in (CONFIGS[name], untrained(CONFIGS[name]))]
    options = ['--images', 1, '--images-of-all', 2, '--classes', 2, '--channels', 20]
    status, out, error = tool('plot_gates', *words, '--out-dir', tmp_path, *options)
    assert status == 0, error
    assert out.count('the deeper, the more the gates oscillate') == 2
    assert 'they do' in out
    for name in ('gates.png', 'depth.png'):
        picture = np.asarray(Image.open(tmp_path / name).convert('RGBA'))
        assert picture[..., 3].min() == 255
        assert (picture[0, 0] == 255).all()
    with (tmp_path / 'depth.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    assert {row['kind'] for row in rows} == {'SE', 'InnerImaging'}
    with (tmp_path / 'gates.csv').open() as file:
        curves = list(csv.DictReader(file))
    widths = {net: [r['channel'] for r in curves if r['net'] == net and r['class'] == ALL] for net in CONFIGS}
    assert len(widths[QUICKEST]) == 32 + 64 + 128 + 256
    assert len(widths[DETECTOR]) == 32 + 64 + 128 + 256


def test_nets_have_names_that_tell_them_apart(tmp_path):
    one, other = (launch.load_config(CONFIGS[name]) for name in (QUICKEST, DETECTOR))
    assert names_of([(one, 'a.pth'), (other, 'b.pth')]) == [QUICKEST, DETECTOR]
    runs = [(one, str(tmp_path / gate / 'seed0' / 'epoch_3.pth')) for gate in ('SE', 'none')]
    assert names_of(runs) == ['SE/seed0/epoch_3', 'none/seed0/epoch_3']
    assert names_of([(one, 'a.pth'), (one, 'a.pth')]) == ['a #1', 'a #2']


def test_bad_input_is_one_sentence(folder, untrained, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    cfg = launch.load_config(CONFIGS[QUICKEST], {'model.backbone.type': 'inimg_mm.ResNet'})
    plain = tmp_path / 'plain.pth'
    torch.save({'state_dict': build_model(cfg).state_dict()}, plain)
    with pytest.raises(UsageError, match='the model of plain has no gates'):
        gate_values.gate_values(cfg, plain, 'plain')
    status, _, error = tool('plot_gates', CONFIGS[QUICKEST], plain)
    assert (status, error.count('\n')) == (2, 1)
    assert 'is not of the model in this config' in error
    status, _, error = tool('plot_gates', CONFIGS[QUICKEST], untrained(CONFIGS[QUICKEST]), '--classes', 0)
    assert (status, error.count('\n')) == (2, 1)
    assert 'at least one class' in error
