"""What the READMEs under configs/ say is so: tables, links, files, snippets and every command."""

import re
import shlex
import subprocess
from functools import partial

import pytest
from mmengine.config import Config

from helpers.own_data import draw, write_coco
from helpers.readmes import parse
from helpers.tooling import ROOT
from inimg_mm.__main__ import main
from inimg_mm.catalogue.config_tables import config_table
from inimg_mm.zoo.tables import fill

READMES = {
    task: ROOT / 'configs' / task / 'README.md'
    for task in ('imagenet', 'coco_detection', 'coco_instance', 'coco_keypoint', 'voc_semantic')
}
TEXTS = {task: path.read_text() for task, path in READMES.items()}
LAUNCHER = r"""#!/bin/sh
printf '%s\n' "$0" "$@" | tr '\n' '\037' >>"$RECORD"
echo >>"$RECORD"
"""
"""Stands in for Python and srun: writes down how it is called."""


def blocks(task, language):
    return re.findall(rf'```{language}\n(.*?)```', TEXTS[task], re.DOTALL)


@pytest.mark.parametrize('task', [*TEXTS, 'demo', 'cifar', 'svhn'])
def test_table(task):
    text = (ROOT / 'configs' / task / 'README.md').read_text()
    assert fill(text, {'configs': partial(config_table, task)}) == text, (
        'run: python tools/update_catalogue.py'
    )
    for path in (ROOT / 'configs' / task).glob('*.py'):
        assert text.count(f'\n| [{path.stem}]({path.name}) |') == 1


@pytest.mark.parametrize('task', TEXTS)
def test_figures_are_marked_as_the_papers(task):
    head, *rows = TEXTS[task].partition('<!-- configs -->')[2].strip().splitlines()
    if "papers' figure" not in head:
        assert 'AP' not in ''.join(rows)
        return
    column = head.split('|').index(" papers' figure ")
    figures = [row.split('|')[column].strip() for row in rows[1:-1]]
    assert any(figures)
    assert all('paper)' in figure for figure in figures if figure)


@pytest.mark.parametrize('task', TEXTS)
def test_linked_and_named_files_exist(task):
    for link in re.findall(r'\]\((?!http)([^)#]+)\)', TEXTS[task]):
        assert (READMES[task].parent / link).is_file(), link
    named = re.findall(r'\b((?:tools|configs)/[\w./-]+\.(?:py|sh|md))', TEXTS[task])
    assert named
    for path in named:
        assert (ROOT / path).is_file(), path


# ---- commands ----------------------------------------------------------------------------------------


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Run a shell script from the root of the project; returns what it would start, word by word."""
    calls = tmp_path / 'calls'
    for name in ('python', 'srun'):
        (tmp_path / name).write_text(LAUNCHER)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
    monkeypatch.setenv('PYTHON', str(tmp_path / 'python'))
    monkeypatch.setenv('RECORD', str(calls))

    def record(script):
        calls.unlink(missing_ok=True)
        done = subprocess.run(['bash', '-euc', script], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [call.split('\037')[:-1] for call in calls.read_text().splitlines()]

    return record


@pytest.mark.parametrize('task', TEXTS)
def test_commands(task, record, monkeypatch):
    """Every line of the shell block starts a tool with arguments that it takes."""
    (block,) = blocks(task, 'bash')
    lines = [line for line in block.splitlines() if not re.match(r'[A-Z]+=\S+$', line)]
    calls = record(block)
    assert len(calls) == len(lines)
    arguments = [parse(monkeypatch, call) for call in calls]
    assert len({found.config for found in arguments}) == 1
    assert (ROOT / arguments[0].config).parent.name == task
    assert [found.resume for found in arguments if 'resume' in found][-1] == 'auto'
    launchers = [found.launcher for found in arguments if 'launcher' in found]
    assert launchers == ['none', 'pytorch', 'pytorch', 'slurm', 'none', 'none']
    nodes = [word for call in calls for word in call if word.startswith('--nnodes=')]
    assert nodes == ['--nnodes=1', '--nnodes=2']


@pytest.mark.parametrize('task', TEXTS)
def test_commands_in_the_text(task, monkeypatch, capsys):
    """Those of the table, and the listing; what is copied is NAME."""
    found = [words.split() for words in re.findall(r'`python ([^`]+)`', TEXTS[task])]
    trained = [words for words in found if words[0] == 'tools/train.py']
    sharded = re.findall(r'`tools/dist_train.sh (configs/\S+) 8`', TEXTS[task])
    assert all((ROOT / config).is_file() for config in sharded)
    assert len(trained) + len(sharded) == len(list((ROOT / 'configs' / task).glob('*.py')))
    for words in (trained[0], trained[-1]):
        assert (ROOT / parse(monkeypatch, words).config).is_file()
    listing, copying = (words for words in found if words not in trained)
    assert copying == ['-m', 'inimg_mm', 'configs', '--copy', 'NAME']
    assert main(listing[2:]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(trained) + len(sharded) + 1


@pytest.mark.parametrize('task', TEXTS)
def test_options_in_the_text(task, monkeypatch):
    """Every --option that is named is one of train.py, and --cfg-options change the backbone's weights."""
    (config,) = re.findall(r'^CONFIG=(\S+)', TEXTS[task], re.MULTILINE)
    for options in re.findall(r'`(--[^`]+)`', TEXTS[task]):
        words = shlex.split(options)
        if words in (['--classes'], ['--data-options']):
            words += ['flip=0.5']
        parsed = parse(monkeypatch, ['tools/train.py', config, *words])
        cfg = Config.fromfile(ROOT / config)
        cfg.merge_from_dict(parsed.cfg_options or {})
        if 'checkpoint=' in options:
            assert cfg.model.backbone.init_cfg.type == 'inimg_mm.Pretrained'
            assert cfg.model.backbone.init_cfg.checkpoint == 'path/to/file.pth'
        elif parsed.cfg_options:
            assert cfg.model.backbone.init_cfg is None


# ---- own data ----------------------------------------------------------------------------------------


def write_data(task, root):
    categories = [dict(id=index, name=name) for index, name in enumerate(('cat', 'dog'), 1)]
    if task == 'coco_keypoint':
        categories = [dict(id=1, name='owl', keypoints=['left_eye', 'right_eye', 'beak'], skeleton=[])]
    if task.startswith('coco'):
        write_coco(root, categories, dict(train=[(40, 30)], val=[(40, 30)]))
    for split in ('train', 'val'):
        if task == 'imagenet':
            for name in ('cat', 'dog'):
                draw(root / split / name / 'x.jpg', (40, 30))
        if task == 'voc_semantic':
            for kind, suffix in (('images', 'jpg'), ('labels', 'png')):
                (root / kind / split).mkdir(parents=True)
                (root / kind / split / f'x.{suffix}').touch()


@pytest.mark.parametrize('task', TEXTS)
def test_own_data_in_five_lines(task, tmp_path):
    (snippet,) = blocks(task, 'python')
    assert len(snippet.strip().splitlines()) <= 5
    write_data(task, tmp_path / 'data')
    delta = tmp_path / 'delta.py'
    delta.write_text(
        snippet.replace('path/to/data', str(tmp_path / 'data')).replace("'configs/", f"'{ROOT}/configs/")
    )
    cfg = Config.fromfile(delta)
    pytest.importorskip(cfg.default_scope)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert loader.dataset.data_root == str(tmp_path / 'data')
