"""What a host leaves out is counted as the host does; what makes no sense as a whole is named."""

import copy
import json

import pytest

from helpers.own_data import build, write_coco
from helpers.tooling import CONFIGS, DETECTOR
from inimg_mm.data_files import checks
from inimg_mm.data_files.annotation_files import Reading, look_through
from inimg_mm.data_files.left_out import find_misread, tally
from inimg_mm.errors import AnnotationError
from inimg_mm.launch import load_config

LOADERS = ('train_dataloader', 'val_dataloader')
POSES = 'td-hm_se-r18_digits-96x96'


@pytest.fixture
def data(tmp_path):
    categories = [
        dict(id=1, name='cat', keypoints=['a', 'b', 'c']),
        dict(id=2, name='dog', keypoints=['a', 'b', 'c']),
    ]
    return write_coco(tmp_path / 'data', categories, dict(train=[(40, 30)] * 4, val=[(40, 30)]))


def change(path, place, **values):
    content = json.loads(path.read_text())
    content['annotations'][place].update(values)
    path.write_text(json.dumps(content))
    return content


CHANGES = {
    'mmdet': [
        (dict(iscrowd=1), 'are crowds (iscrowd 1)'),
        (dict(ignore=1), 'are marked to be ignored'),
        (dict(bbox=[4, 4, 0.9, 16]), 'are smaller than a pixel or have no area'),
        (dict(bbox=[4, 4, 16, 0]), 'are smaller than a pixel or have no area'),
        (dict(area=0), 'are smaller than a pixel or have no area'),
    ],
    'mmpose': [
        (dict(iscrowd=1), 'are crowds (iscrowd 1)'),
        (dict(num_keypoints=0), 'have no marked keypoint'),
        (dict(keypoints=[0] * 9), 'have no marked keypoint'),
        (dict(bbox=[4, 4, 0, 16]), 'have a box without size'),
    ],
}


@pytest.mark.parametrize(
    ('host', 'number'), [(h, n) for h, rows in CHANGES.items() for n in range(len(rows))]
)
def test_as_the_host_counts(host, number, data, tmp_path):
    values, reason = CHANGES[host][number]
    change(data / 'train.json', 3, **values)
    cfg = load_config(
        CONFIGS[DETECTOR if host == 'mmdet' else POSES], work_dir=tmp_path / 'w', data_root=data
    )
    found = look_through(data / 'train.json', Reading(host))
    kept, reasons = found.used(('cat', 'dog'))
    assert (kept, dict(reasons)) == (7, {reason: 1})
    dataset = build(cfg, 'train_dataloader')
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    if host == 'mmdet':
        used = sum(not one['ignore_flag'] for info in infos for one in info['instances'])
    else:
        used = len(infos)
    assert used == kept


def test_objects_of_other_classes(data):
    found = look_through(data / 'train.json', Reading())
    assert found.used(('dog',)) == (4, {'are of other classes': 4})
    assert found.used() == (8, {})
    assert found.annotated() == {'cat': 4, 'dog': 4}
    assert found.ids(('dog',)) == [2]


def test_no_keypoints(data):
    content = json.loads((data / 'train.json').read_text())
    del content['annotations'][0]['keypoints']
    assert tally(content, 'mmpose').counts[1, 'have no keypoints'] == 1
    assert tally(content, 'mmdet').kept([1, 2]) == 8


# ---- in a config ----------------------------------------------------------------------------------------


def check(data, tmp_path, **options):
    checks.check_annotations(
        load_config(CONFIGS[DETECTOR], options, work_dir=tmp_path / 'w', data_root=data), LOADERS
    )


def test_nothing_but_crowds(data, tmp_path):
    for place in range(8):
        change(data / 'train.json', place, iscrowd=1)
    with pytest.raises(AnnotationError, match=r'no annotations to train on: of 8 objects 8 are crowds'):
        check(data, tmp_path)


def test_classes_that_nothing_is_of(data, tmp_path):
    """mmdet's data set has COCO's classes where it is told no others, and drops the rest without a word."""
    with pytest.raises(AnnotationError, match=r'of 8 objects 8 are of other classes'):
        check(data, tmp_path, **{'train_dataloader.dataset.metainfo': dict(classes=('owl',))})


@pytest.fixture
def said(monkeypatch):
    """What is logged."""
    told = []
    monkeypatch.setattr('mmengine.logging.print_log', lambda text, *_: told.append(text))
    return told


def test_a_count_is_said(data, tmp_path, said):
    change(data / 'train.json', 0, bbox=[4, 4, 0, 16])
    change(data / 'train.json', 1, iscrowd=1)
    check(data, tmp_path)
    (text,) = said
    assert '2 of 8 objects are left out: 1 are smaller than a pixel or have no area, 1 are crowds' in text


def test_images_that_are_too_small(data, tmp_path, said):
    check(data, tmp_path, **{'train_dataloader.dataset.filter_cfg': dict(min_size=30)})
    assert said == []
    with pytest.raises(AnnotationError, match='4 of 4 images have a side of less than 32 pixels'):
        check(data, tmp_path, **{'train_dataloader.dataset.filter_cfg': dict(min_size=32)})


# ---- misread as a whole ----------------------------------------------------------------------------------


def boxes(*given, **values):
    """A file with these boxes in an image of 100 x 80."""
    annotation = dict(image_id=1, category_id=1, area=4, iscrowd=0, **values)
    return dict(
        images=[dict(id=1, file_name='a.jpg', width=100, height=80)],
        categories=[dict(id=1, name='cat')],
        annotations=[dict(annotation, id=number, bbox=box) for number, box in enumerate(given, 1)],
    )


SHARES = boxes([0.1, 0.1, 0.5, 0.6], [0, 0, 1, 1])
CORNERS = boxes([50, 40, 90, 70], [1, 2, 30, 40], [10, 10, 99, 80])
POINTS = boxes(*[[1, 2, 30, 40]] * 3, keypoints=[0.5, 0.2, 2, 0, 0, 0])
POLYGONS = boxes(*[[1, 2, 30, 40]] * 3, segmentation=[[0.1, 0.1, 0.5, 0.1, 0.5, 0.6]])


def test_what_is_taken_for_something_else():
    assert 'no box of 2 is as large as a pixel' in find_misread(SHARES, masks=False, keypoints=False)
    assert '2 of 3 boxes reach out of their images' in find_misread(CORNERS, masks=False, keypoints=False)
    assert 'the keypoints of all 3 objects' in find_misread(POINTS, masks=False, keypoints=True)
    assert 'the polygons of all 3 masks' in find_misread(POLYGONS, masks=True, keypoints=False)
    assert find_misread(POINTS, masks=True, keypoints=False) is None
    assert find_misread(POLYGONS, masks=False, keypoints=True) is None


@pytest.mark.parametrize('content', [SHARES, CORNERS, POINTS, POLYGONS])
def test_one_object_that_is_right_settles_it(content):
    content = copy.deepcopy(content)
    content['annotations'].append(
        dict(
            id=9,
            image_id=1,
            category_id=1,
            bbox=[60, 10, 20, 20],
            keypoints=[61, 12, 2],
            segmentation=[[60, 10, 80, 10, 80, 30]],
        )
    )
    assert find_misread(content, masks=True, keypoints=True) is None


@pytest.mark.parametrize('name', ['train', 'val'])
def test_shares_are_refused(name, data, tmp_path):
    path = data / f'{name}.json'
    for place in range(len(json.loads(path.read_text())['annotations'])):
        change(path, place, bbox=[0.1, 0.1, 0.4, 0.5])
    with pytest.raises(AnnotationError, match=rf'in {path}, no box of . is as large as a pixel'):
        check(data, tmp_path)
