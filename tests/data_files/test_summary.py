"""check_config shows what is in the data, and counts as a training does."""

import json

import numpy as np
import pytest
from PIL import Image

from helpers.own_data import draw, write_coco
from helpers.tooling import CONFIGS, DETECTOR, QUICKEST, ROOT
from inimg_mm.checking.data import print_summaries
from inimg_mm.data_files.summary import summarise
from inimg_mm.launch import load_config

SEGMENTER = ROOT / 'configs' / 'voc_semantic' / 'fcn-8s_scnet50_4xb4-20k_voc12aug-512x512.py'


@pytest.fixture
def boxes(tmp_path):
    categories = [dict(id=1, name='cat'), dict(id=2, name='dog')]
    return write_coco(tmp_path / 'boxes', categories, dict(train=[(40, 30), (80, 60)], val=[(40, 30)]))


def config(root, tmp_path, name=DETECTOR, **options):
    return load_config(CONFIGS.get(name, name), work_dir=tmp_path / 'w', data_root=root, **options)


def test_objects_by_class(boxes, tmp_path, capsys):
    content = json.loads((boxes / 'train.json').read_text())
    content['annotations'][0]['iscrowd'] = 1  # a cat of the first image
    content['images'].append(dict(id=9, file_name='train_1.jpg', width=40, height=30))
    (boxes / 'train.json').write_text(json.dumps(content))
    train, val = summarise(config(boxes, tmp_path))
    assert (train.loader, val.loader) == ('train_dataloader', 'val_dataloader')
    assert [tuple(row) for row in train.rows] == [('cat', 1, 1, 1), ('dog', 2, 0, 2)]
    assert [tuple(row) for row in val.rows] == [('cat', 1, 0, 1), ('dog', 1, 0, 1)]
    assert train.notes[0] == '3 images, 1 of them without objects; 2 sizes, 40x30 to 80x60'
    assert '1 of 4 objects are left out: 1 are crowds' in train.notes[1]
    assert train.faults == val.faults == []
    assert not (tmp_path / 'w' / 'annotations').exists()
    print_summaries([train, val])
    shown = capsys.readouterr().out
    assert str(boxes / 'train.json') in shown
    assert '3 images, 1 of them without objects' in shown


def test_images_are_read_where_it_is_asked_for(boxes, tmp_path, capsys):
    (boxes / 'images' / 'train_1.jpg').write_bytes(b'')
    draw(boxes / 'images' / 'train_2.jpg', (40, 30))
    cfg = config(boxes, tmp_path)
    assert [one.faults for one in summarise(cfg)] == [[], []]
    train, val = summarise(cfg, images=True)
    assert val.faults == []
    assert [fault.partition('.jpg')[2] for fault in train.faults] == [
        ' cannot be read: the file is empty',
        ': it is 40 wide and 30 high as it is loaded, and 80 wide and 60 high in its annotations',
    ]
    print_summaries([train])
    assert 'FAULT: ' in capsys.readouterr().out


def test_what_a_training_stops_at(boxes, tmp_path):
    (boxes / 'images' / 'val_1.jpg').unlink()
    content = json.loads((boxes / 'train.json').read_text())
    content['annotations'][0]['bbox'] = [1, 2, -3, 4]
    (boxes / 'train.json').write_text(json.dumps(content))
    train, val = summarise(config(boxes, tmp_path))
    assert 'its bbox [1, 2, -3, 4] has a negative size' in train.faults[0]
    assert val.faults[0].startswith('1 images are not in ')
    (boxes / 'train.json').write_text('{')
    cfg = load_config(CONFIGS[DETECTOR], work_dir=tmp_path / 'w')
    cfg.train_dataloader.dataset.update(data_root=str(boxes), ann_file='train.json')
    assert 'cannot be read' in summarise(cfg)[0].faults[0]


@pytest.mark.parametrize('name', [DETECTOR, QUICKEST])
def test_data_that_is_not_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert summarise(load_config(CONFIGS[name])) == []


def test_class_folders(tmp_path, capsys):
    pytest.importorskip('mmpretrain')
    for split in ('train', 'val'):
        for name, count in (('cat', 2), ('dog', 1)):
            for index in range(count):
                draw(tmp_path / 'data' / split / name / f'{index}.png', (8, 6))
    (tmp_path / 'data' / 'train' / 'dog' / 'x.gif').touch()
    (tmp_path / 'data' / 'val' / 'cat' / '0.png').write_bytes(b'')
    train, val = summarise(config(tmp_path / 'data', tmp_path, QUICKEST), images=True)
    assert [tuple(row) for row in train.rows] == [('cat', 2, 0, 2), ('dog', 1, 0, 1)]
    assert train.notes == ['not used: 1 files with .gif']
    assert val.faults[0].endswith('cat/0.png cannot be read: the file is empty')
    print_summaries([train._replace(rows=train.rows * 30)])
    assert '20 more classes' in capsys.readouterr().out


def test_label_maps(tmp_path):
    pytest.importorskip('mmseg')
    labels = np.full((30, 40), 255, np.uint8)
    labels[:10], labels[10:15] = 0, 1
    for split in ('train', 'val'):
        draw(tmp_path / 'data' / 'images' / split / 'a.jpg', (40, 30))
        (tmp_path / 'data' / 'labels' / split).mkdir(parents=True)
        Image.fromarray(labels).save(tmp_path / 'data' / 'labels' / split / 'a.png')
    Image.fromarray(np.stack([labels] * 3, axis=2)).save(tmp_path / 'data' / 'labels' / 'val' / 'a.png')
    cfg = config(tmp_path / 'data', tmp_path, SEGMENTER, classes=['sky', 'sea'])
    assert [one.rows for one in summarise(cfg)] == [[], []]
    train, val = summarise(cfg, images=True)
    assert [tuple(row) for row in train.rows] == [('sky', 400, 0, 1), ('sea', 200, 0, 1)]
    assert train.notes[1] == '50% of the pixels count for nothing (255)'
    assert 'it has 3 channels' in val.faults[0]
    cfg = config(tmp_path / 'data', tmp_path, SEGMENTER, classes=['sky'])
    assert 'label maps have the value 1, and there are 1 classes' in summarise(cfg, images=True)[0].faults
