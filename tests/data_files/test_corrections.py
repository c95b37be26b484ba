"""What has one right reading is corrected in a copy, for the data set and its metric; the file stays."""

import copy
import json
from pathlib import Path

import pytest

from helpers.own_data import write_coco
from helpers.tooling import CONFIGS, DETECTOR
from inimg_mm.data_files import checks
from inimg_mm.data_files.annotation_files import Reading, look_through
from inimg_mm.data_files.corrections import CORRECTIONS, correct, found_in
from inimg_mm.launch import load_config

LOADERS = ('train_dataloader', 'val_dataloader')


def content(**values):
    annotation = dict(id=1, image_id=1, category_id=1, bbox=[1, 1, 4, 4], area=16, iscrowd=0)
    return dict(
        images=[dict(id=1, file_name='a.jpg', width=40, height=30)],
        categories=[dict(id=1, name='cat')],
        annotations=[{**annotation, **values}, {**annotation, 'id': 2}],
    )


@pytest.mark.parametrize(
    ('values', 'key', 'right', 'trained_on'),
    [
        (dict(iscrowd=None), 'iscrowd', [0, 0], False),
        (dict(iscrowd='0'), 'iscrowd', [0, 0], True),
        (dict(iscrowd='1'), 'iscrowd', [1, 0], True),
        (dict(id=0), 'id', [1, 2], False),
        (dict(id='a'), 'id', [1, 2], False),
        (dict(id=1.5), 'id', [1, 2], False),
    ],
)
def test_what_has_one_right_reading(values, key, right, trained_on):
    given = content(**values)
    assert [count for _, count in found_in(given, training=False)] == [1]
    assert bool(found_in(given, training=True)) == trained_on
    before = copy.deepcopy(given)
    correct(given)
    assert [annotation[key] for annotation in given['annotations']] == right
    assert found_in(given, training=False) == []
    for one, other in zip(given['annotations'], before['annotations'], strict=True):
        assert {k: v for k, v in one.items() if k != key} == {k: v for k, v in other.items() if k != key}


def test_a_missing_crowd_is_none():
    given = content()
    del given['annotations'][0]['iscrowd']
    correct(given)
    assert given == content()


def test_whole_annotations_stay():
    given = content(id=7)
    assert found_in(given, training=False) == []
    correct(given)
    assert given == content(id=7)
    assert len({row.read_as for row in CORRECTIONS}) == len(CORRECTIONS)


# ---- in a config ----------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    categories = [dict(id=1, name='cat'), dict(id=2, name='dog')]
    return write_coco(tmp_path / 'data', categories, dict(train=[(40, 30)] * 2, val=[(40, 30)] * 2))


def change(path, edit):
    read = json.loads(path.read_text())
    for place, annotation in enumerate(read['annotations']):
        edit(place, annotation)
    path.write_text(json.dumps(read))
    return read


def config(root, tmp_path):
    return load_config(CONFIGS[DETECTOR], work_dir=tmp_path / 'w', data_root=root)


def test_the_data_set_and_its_metric_read_one_copy(data, tmp_path):
    written = change(data / 'val.json', lambda place, annotation: annotation.update(id=place))
    cfg = config(data, tmp_path)
    checks.check_annotations(cfg, LOADERS)
    copied = Path(cfg.val_dataloader.dataset.ann_file)
    assert copied.parent == tmp_path / 'w' / 'annotations'
    assert cfg.val_evaluator.ann_file == str(copied)
    assert cfg.train_dataloader.dataset.ann_file == 'train.json'
    assert [a['id'] for a in json.loads(copied.read_text())['annotations']] == [1, 2, 3, 4]
    assert json.loads((data / 'val.json').read_text()) == written


def test_evaluations_agree_whatever_the_first_id_is(data, tmp_path):
    """COCO's evaluation takes a match with the annotation of id 0 for none."""
    coco = pytest.importorskip('pycocotools.coco')
    from pycocotools.cocoeval import COCOeval

    def average_precision(path):
        truth = coco.COCO(str(path))
        results = [
            dict(image_id=a['image_id'], category_id=a['category_id'], bbox=a['bbox'], score=0.9)
            for a in truth.dataset['annotations']
        ]
        evaluation = COCOeval(truth, truth.loadRes(results), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return evaluation.stats[0]

    assert average_precision(data / 'val.json') == pytest.approx(1)
    change(data / 'val.json', lambda place, annotation: annotation.update(id=place))
    assert average_precision(data / 'val.json') < 0.9
    cfg = config(data, tmp_path)
    checks.check_annotations(cfg, LOADERS)
    assert average_precision(cfg.val_evaluator.ann_file) == pytest.approx(1)


def test_a_metric_of_its_own_file(data, tmp_path):
    (data / 'other.json').write_text((data / 'val.json').read_text())
    change(data / 'other.json', lambda place, annotation: annotation.pop('iscrowd'))
    cfg = config(data, tmp_path)
    cfg.val_evaluator.ann_file = str(data / 'other.json')
    checks.check_annotations(cfg, LOADERS)
    assert cfg.val_dataloader.dataset.ann_file == 'val.json'
    read = json.loads(Path(cfg.val_evaluator.ann_file).read_text())
    assert {annotation['iscrowd'] for annotation in read['annotations']} == {0}


def test_a_byte_order_mark(data, tmp_path):
    (data / 'train.json').write_bytes(b'\xef\xbb\xbf' + (data / 'train.json').read_bytes())
    cfg = config(data, tmp_path)
    checks.check_annotations(cfg, LOADERS)
    assert len(json.loads(Path(cfg.train_dataloader.dataset.ann_file).read_text())['annotations']) == 4


def test_a_file_is_read_once(data, tmp_path, monkeypatch):
    from inimg_mm.data_files import annotation_files

    read, parse = [], annotation_files.read_annotations
    monkeypatch.setattr(
        annotation_files, 'read_annotations', lambda path: read.append(path.name) or parse(path)
    )
    cfg = config(data, tmp_path)
    checks.check_annotations(cfg, LOADERS)
    assert sorted(read) == ['train.json', 'val.json']
    (data / 'val.json').write_text((data / 'val.json').read_text() + ' ')  # another file
    look_through(data / 'val.json', Reading('mmdet', training=False))
    assert len(read) == 3


def test_images_under_the_names_of_another_system(data, tmp_path):
    (data / 'images' / 'sub').mkdir()
    (data / 'images' / 'train_1.jpg').rename(data / 'images' / 'sub' / 'a.jpg')
    (data / 'images' / 'train_2.jpg').rename(data / 'images' / 'u\u0308.jpg')
    written = json.loads((data / 'train.json').read_text())
    written['images'][0]['file_name'] = 'sub\\a.jpg'
    written['images'][1]['file_name'] = '\u00fc.jpg'
    (data / 'train.json').write_text(json.dumps(written))
    cfg = config(data, tmp_path)
    checks.check_annotations(cfg, LOADERS)
    read = json.loads(Path(cfg.train_dataloader.dataset.ann_file).read_text())
    assert [image['file_name'] for image in read['images']] == ['sub/a.jpg', 'u\u0308.jpg']
    assert json.loads((data / 'train.json').read_text()) == written
