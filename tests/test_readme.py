"""The README is true: its tables are computed, its snippets run, its files exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS

from helpers.readmes import parse
from inimg_mm import zoo
from inimg_mm.__main__ import main
from inimg_mm.models import ResNet, SCNet
from inimg_mm.registry import MODELS
from inimg_mm.zoo.complexity import measure
from inimg_mm.zoo.tables import GATE_SPECS, fill, gate_table, zoo_row, zoo_table

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / 'README.md').read_text()
DEMO_README = (ROOT / 'configs' / 'demo' / 'README.md').read_text()
SNIPPETS = re.findall(r'```python\n(.*?)```', README, re.DOTALL)


def commands(text):
    """The lines of the shell blocks."""
    blocks = re.findall(r'```bash\n(.*?)```', text, re.DOTALL)
    return [line for block in blocks for line in block.replace('\\\n', ' ').splitlines() if line]


WALK = [line for line in commands(README) if 'work_dirs/digits' in line or 'make_demo_data' in line]
"""From the demo data to drawn predictions."""


def rows_between(name):
    return README.split(f'<!-- {name} -->\n')[1].split(f'\n<!-- end {name} -->')[0].splitlines()[2:]


@pytest.mark.parametrize(('number', 'name'), enumerate(zoo.MODELS))
def test_backbones_are_counted_as_published_and_in_the_table(number, name):
    size, model = measure(name), zoo.get(name)
    rows = rows_between('zoo')
    assert len(rows) == len(zoo.MODELS)
    assert rows[number] == zoo_row(name, size), 'run: python tools/zoo_table.py --write README.md'
    assert model.params in (None, size.params)
    # the papers of 2015 to 2017 stride in the first 1x1 convolution, which saves up to a tenth
    assert model.gmacs is None or size.macs / 1e9 == pytest.approx(model.gmacs, rel=0.11)


def test_table_of_gates_is_up_to_date():
    assert fill(README, {'gates': gate_table}) == README, 'run: python tools/zoo_table.py --write README.md'
    assert len(rows_between('gates')) == 1 + len(GATE_SPECS)


def test_head_of_the_table_of_backbones(monkeypatch):
    monkeypatch.setattr(zoo, 'MODELS', {})
    assert f'<!-- zoo -->\n{zoo_table()}\n| resnet18 |' in README


def test_fill_needs_a_place():
    with pytest.raises(ValueError, match='zoo.*gates'):
        fill('no table here')


def test_linked_and_named_files_exist():
    links = re.findall(r'\]\((?!http)([^)#]+)\)', README)
    named = re.findall(r'\b((?:tools|configs)/[\w./-]+\.(?:py|sh|md))', README)
    assert links
    assert named
    for path in links + named:
        assert (ROOT / path).is_file(), path


def test_the_families_of_the_second_snippet_are_built():
    configs = Config.fromstring(SNIPPETS[1], '.py')
    with torch.device('meta'):
        nets = {name: MODELS.build(config) for name, config in configs.items()}
    assert {name: len(net.out_channels) for name, net in nets.items()} == {
        'preact': 3,
        'wide': 3,
        'pyramid': 3,
        'inception': 4,
    }
    assert nets['inception'].out_strides == (4, 8, 16, 32)


def test_config_snippet_builds_a_detector():
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS

    cfg = Config.fromstring(SNIPPETS[0], '.py')
    detector = MODELS.build(cfg.model)
    assert detector.backbone.out_channels == tuple(cfg.model.neck.in_channels)


@pytest.mark.slow
def test_warm_start_snippet_carries_a_whole_detector(tmp_path):
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS

    plain = Config.fromstring(SNIPPETS[2].split('\n')[0], '.py').model
    plain.backbone.init_cfg = None
    plain = MODELS.build(plain)
    torch.save({'state_dict': plain.state_dict()}, tmp_path / 'plain.pth')
    cfg = Config.fromstring(
        SNIPPETS[2].replace('path/to/a/trained/faster-rcnn_r50.pth', str(tmp_path / 'plain.pth')), '.py'
    )
    gated = MODELS.build(cfg.model)
    gated.init_weights()
    image, pooled = torch.randn(1, 3, 64, 64), torch.randn(2, 256, 7, 7)
    expected, found = (answers(net.eval(), image, pooled) for net in (plain, gated))
    for a, b in zip(flat(expected), flat(found), strict=True):
        assert torch.equal(a, b)
    parameters = build_optim_wrapper(gated, cfg.optim_wrapper).param_groups
    assert {group['lr'] for group in parameters} == {0.02, 0.2}


def answers(detector, image, pooled):
    maps = detector.extract_feat(image)
    return maps, detector.rpn_head(maps), detector.roi_head.bbox_head(pooled)


def flat(tensors):
    return [tensors] if torch.is_tensor(tensors) else [leaf for part in tensors for leaf in flat(part)]


def test_own_data_snippet(tmp_path):
    (tmp_path / 'data' / 'images').mkdir(parents=True)
    for name in ('train.json', 'val.json'):
        (tmp_path / 'data' / name).write_text(
            '{"images": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}'
        )
    snippet = SNIPPETS[3].replace('path/to/data', str(tmp_path / 'data'))
    (tmp_path / 'delta.py').write_text(snippet.replace("'configs/", f"'{ROOT}/configs/"))
    cfg = Config.fromfile(tmp_path / 'delta.py')
    assert cfg.model.roi_head.bbox_head.num_classes == 2
    assert cfg.train_dataloader.dataset.data_root == str(tmp_path / 'data')
    assert cfg.val_evaluator.ann_file == str(tmp_path / 'data' / 'val.json')


def test_hook_lines_snippet():
    (lines,) = (snippet for snippet in SNIPPETS if 'ExactResumeHook' in snippet)
    cfg = Config.fromstring(lines, '.py')
    hooks = [cfg.default_hooks.checkpoint, *cfg.custom_hooks]
    for hook in hooks:
        assert f'inimg_mm.{type(HOOKS.build(dict(hook))).__name__}' == hook.type
    assert len(hooks) == 4


def test_the_plain_loop_learns(tmp_path):
    """As it stands, on random images, from a file with random weights."""
    (loop,) = (snippet for snippet in SNIPPETS if 'cross_entropy' in snippet)
    assert loop.index('for images') < loop.index('backward()')
    torch.save(SCNet(depth=50).state_dict(), tmp_path / 'scnet50.pth')
    loop = loop.replace('path/to/', f'{tmp_path}/')
    weight = torch.load(tmp_path / 'scnet50.pth')['conv1.weight']
    names = dict(batches=[])
    exec(loop, names)
    assert torch.equal(names['net'].conv1.weight, weight)
    names = dict(batches=[(torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))])
    exec(loop, names)
    assert names['loss'].isfinite()
    assert not torch.equal(names['net'].conv1.weight, weight)


def test_in_torchvisions_detector(tmp_path):
    """As it stands, with random weights in the place of those that would be fetched."""
    (snippet,) = (snippet for snippet in SNIPPETS if 'BackboneWithFPN' in snippet)
    torch.save(ResNet(depth=50).state_dict(), tmp_path / 'resnet50.pth')
    names = {}
    exec(snippet.replace('torchvision://resnet50', str(tmp_path / 'resnet50.pth')), names)
    targets = [dict(boxes=torch.tensor([[8.0, 8, 40, 40]]), labels=torch.tensor([1]))]
    detector = names['detector'].train()
    detector.transform.min_size, detector.transform.max_size = (64,), 64
    losses = detector([torch.rand(3, 64, 64)], targets)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert names['body'].layer1[0].conv1.weight.grad is not None


# ---- commands -------------------------------------------------------------------------------------------

TOOL_LINES = [line for line in commands(README) + commands(DEMO_README) if line.startswith('python tools/')]
OTHER_LINES = [line for line in commands(README) if line not in TOOL_LINES]


def test_there_are_commands():
    assert len(WALK) == 4
    assert len(TOOL_LINES) >= 7
    assert {line.split()[0] for line in OTHER_LINES} == {'python', 'tools/demo.sh', 'tools/run_tests.sh'}


@pytest.mark.parametrize('line', TOOL_LINES)
def test_tools_take_their_arguments(line, monkeypatch):
    words = shlex.split(line.replace(' CONFIG', ' x.py').replace(' [--checkpoint FILE]', ''), comments=True)
    parsed = parse(monkeypatch, words[1:])
    config = getattr(parsed, 'config', 'x.py')
    assert config == 'x.py' or (ROOT / config).is_file()


@pytest.mark.parametrize('line', [line for line in OTHER_LINES if line.startswith('python')])
def test_listing_and_copying(line, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    python, option, package, *words = shlex.split(line, comments=True)
    assert (python, option, package) == ('python', '-m', 'inimg_mm')
    if '--copy' in words:
        pytest.importorskip('mmdet')
    assert main(words) == 0
    assert (tmp_path / 'my_detector.py').is_file() == ('--copy' in words)
    assert capsys.readouterr().out


@pytest.mark.slow
def test_from_data_to_pictures(tmp_path):
    """The commands as they stand, on a handful of pictures."""
    pytest.importorskip('mmdet')
    pytest.importorskip('skimage', reason='the demo data needs scikit-image (extra demo)')
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'python').write_text(f'#!/bin/sh\nexec {sys.executable} -W ignore "$@"\n')
    (tmp_path / 'bin' / 'python').chmod(0o755)
    for name in ('configs', 'tools'):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {**os.environ, 'PATH': f'{tmp_path}/bin:{os.environ["PATH"]}', 'OMP_NUM_THREADS': '1'}
    few = ' --num-train 8 --num-val 2 --num-class-train 1 --num-class-val 1'
    for line in WALK:
        line += few if 'make_demo_data' in line else ''
        done = subprocess.run(line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f'{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}'
    made = tmp_path / 'work_dirs' / 'digits'
    assert (made / 'predictions.json').is_file()
    assert any((made / 'drawn').rglob('*.png')) or any((made / 'drawn').rglob('*.jpg'))
    assert (made / 'inferred' / 'predictions.json').is_file()
