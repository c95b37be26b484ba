"""Images that an annotation file names are looked for, and what is there instead is told."""

import json

import pytest

from helpers.own_data import write_coco
from helpers.tooling import CONFIGS, DETECTOR
from inimg_mm.data_files import checks, image_names
from inimg_mm.data_files.image_names import look_up
from inimg_mm.errors import AnnotationError
from inimg_mm.launch import load_config


@pytest.fixture
def folder(tmp_path):
    for name in ('a.jpg', 'sub/b.png', 'Ü.jpg'):
        (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'images' / name).touch()
    (tmp_path / 'up.jpg').touch()
    return tmp_path / 'images'


@pytest.mark.parametrize('name', ['a.jpg', './a.jpg', 'sub/b.png', 'sub/../a.jpg', '../up.jpg'])
def test_images_that_are_there(name, folder):
    assert look_up([name, str(folder / 'a.jpg')], folder) == ({}, {})


@pytest.mark.parametrize(
    ('name', 'other'),
    [('sub\\b.png', 'sub/b.png'), ('.\\a.jpg', './a.jpg'), ('U\u0308.jpg', 'Ü.jpg')],
)
def test_another_spelling(name, other, folder):
    assert look_up([name], folder) == ({}, {name: other})


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('A.jpg', "there is 'a.jpg': capitals count"),
        ('a.png', "there is 'a.jpg': the suffix is another"),
        ('images/a.jpg', "there is 'a.jpg': the folder is named twice"),
        ('C:\\data\\a.jpg', "it is a Windows path, and there is 'a.jpg': write it relative"),
        ('C:\\data\\z.jpg', 'it is a Windows path: write it relative'),
        ('up.jpg', 'it is a folder further up'),
        ('z.jpg', ''),
    ],
)
def test_a_hint_at_the_cause(name, hint, folder):
    missing, meant = look_up([name], folder)
    assert list(missing) == [name]
    assert missing[name].startswith(hint)
    assert bool(missing[name]) == bool(hint)
    assert meant == {}


def test_a_folder_is_listed_once(folder, monkeypatch):
    listed, scandir = [], image_names.os.scandir
    monkeypatch.setattr(image_names.os, 'scandir', lambda path: listed.append(path) or scandir(path))
    assert look_up(['a.jpg', 'sub/b.png', 'Ü.jpg', 'a.jpg'], folder) == ({}, {})
    assert len(listed) == 2


@pytest.fixture
def data(tmp_path):
    return write_coco(
        tmp_path / 'data', [dict(id=1, name='cat')], dict(train=[(40, 30)] * 3, val=[(40, 30)] * 2)
    )


@pytest.mark.parametrize('name', ['train', 'val'])
def test_a_missing_image_is_named_before_the_start(name, data, tmp_path, monkeypatch):
    (data / 'images' / f'{name}_2.jpg').rename(data / 'images' / f'{name}_2.JPG')
    cfg = load_config(CONFIGS[DETECTOR], work_dir=tmp_path / 'w', data_root=data)
    loaders = ('train_dataloader', 'val_dataloader')
    total = len(json.loads((data / f'{name}.json').read_text())['images'])
    message = (
        rf"1 of {total} images .*{name}\.json names are not in .*; the first is '{name}_2.jpg': there is"
    )
    with pytest.raises(AnnotationError, match=message):
        checks.check_annotations(cfg, loaders)
    if name == 'val':  # which is never cut
        with pytest.raises(AnnotationError, match=message):
            checks.check_annotations(cfg, loaders, skip=9)
    else:
        said = []
        monkeypatch.setattr(checks, 'warn', said.append)
        checks.check_annotations(cfg, loaders, skip=1)
        assert "the first is 'train_2.jpg'" in said[0]


def test_images_that_no_training_loads_need_not_be_there(data, tmp_path):
    """As where only images with objects were fetched."""
    content = json.loads((data / 'train.json').read_text())
    content['images'].append(dict(id=9, file_name='empty.jpg', width=40, height=30))
    (data / 'train.json').write_text(json.dumps(content))
    cfg = load_config(CONFIGS[DETECTOR], work_dir=tmp_path / 'w', data_root=data)
    cfg.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True)
    checks.check_annotations(cfg, ('train_dataloader',))
    cfg.train_dataloader.dataset.filter_cfg = None
    with pytest.raises(AnnotationError, match="1 of 4 images .* the first is 'empty.jpg'"):
        checks.check_annotations(cfg, ('train_dataloader',))
