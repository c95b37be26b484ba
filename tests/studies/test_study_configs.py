"""The grids of configs/studies can be trained: every cell is built, on data that is laid out as they say."""

import re
import shlex

import pytest

pytest.importorskip('matplotlib', reason='plots need matplotlib (extra demo)')
pytest.importorskip('mmdet', reason='studies train detectors of mmdet (extra mm)')
pytest.importorskip('mmpretrain', reason='studies train classifiers of mmpretrain (extra mm)')
pytest.importorskip('mmpose', reason='studies train keypoint models of mmpose (extra pose)')
pytest.importorskip('mmseg', reason='studies train segmenters of mmseg (extra seg)')

import numpy as np
from PIL import Image

from helpers.own_data import draw, write_coco
from helpers.readmes import parse
from helpers.tooling import ROOT
from inimg_mm.catalogue import config_files
from inimg_mm.studies.ablation_grid import read_grid

STUDIES = ROOT / 'configs' / 'studies'
README = (STUDIES / 'README.md').read_text()
JOINTS = [
    f'{side}_{name}' for side in ('left', 'right') for name in ('ankle', 'knee', 'hip', 'wrist', 'elbow')
]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A folder with one or two pictures of each set at data/."""
    folder = tmp_path_factory.mktemp('studies')
    for split in ('train', 'val'):
        for label in range(10):
            draw(folder / 'data' / 'cifar10_12k' / split / str(label) / '0.jpg', (32, 32))
        draw(folder / 'data' / 'camvid' / 'images' / split / '0.png', (240, 180))
        labels = folder / 'data' / 'camvid' / 'labels' / split / '0.png'
        labels.parent.mkdir(parents=True)
        Image.fromarray(np.zeros((180, 240), np.uint8)).save(labels)
    pictures = dict(train=[(80, 60)], val=[(80, 60)])
    write_coco(folder / 'data' / 'pennfudan', [dict(id=1, name='person')], pictures)
    joints = [*JOINTS, 'left_shoulder', 'right_shoulder', 'neck', 'head_top']
    write_coco(folder / 'data' / 'lsp', [dict(id=1, name='person', keypoints=joints)], pictures)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    'path', sorted(STUDIES.glob('*/*.yml')), ids=lambda path: f'{path.parent.name}-{path.stem}'
)
def test_a_grid(path, data, monkeypatch, tmp_path):
    text = path.read_text().replace('configs/studies', str(STUDIES))
    (tmp_path / path.name).write_text(text)
    monkeypatch.chdir(data)
    grid = read_grid(tmp_path / path.name)
    assert grid.cells[0].name.startswith('none')
    assert len({cell.macs for cell in grid.cells}) == len(grid.cells)
    assert path.relative_to(ROOT).as_posix() in README


def test_studies_are_not_in_the_catalogue():
    """They read data when they are loaded."""
    assert list(STUDIES.glob('*/*.py'))
    assert not [path for path in config_files(ROOT / 'configs') if 'studies' in path.parts]


def test_the_readme():
    for link in re.findall(r'\]\((?!http)([^)#]+)\)', README):
        assert (STUDIES / link).exists(), link
    for path in sorted(STUDIES.glob('*/*.py')):
        assert path.name in README


@pytest.mark.parametrize(
    'line',
    [
        line
        for block in re.findall(r'```bash\n(.*?)```', README, re.DOTALL)
        for line in block.replace('\\\n', ' ').splitlines()
        if line.startswith('python tools/')
    ],
)
def test_commands_are_read(line, monkeypatch):
    assert parse(monkeypatch, shlex.split(line))
