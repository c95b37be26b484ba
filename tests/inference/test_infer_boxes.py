"""Where a top-down keypoint model looks: boxes from a file or a detector."""

import json

import numpy as np
import pytest
from PIL import Image as Picture

pytest.importorskip('mmdet', reason='the tools launch the hosts (extra mm)')
pytest.importorskip('mmpretrain', reason='the tools launch the hosts (extra mm)')

from helpers.tooling import CONFIGS

CLASSIFIER = CONFIGS['se-r18_digits']
DETECTOR = CONFIGS['faster-rcnn_cmpese-r18_fpn_digits']
SEGMENTER = CONFIGS['mask-rcnn_ini-r18_fpn_digits']
KEYPOINTS = CONFIGS['td-hm_se-r18_digits-96x96']
DIGITS = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')


def written(folder):
    return json.loads((folder / 'out' / 'predictions.json').read_text())


def test_keypoints_in_boxes(untrained, folder, infer_tool, tmp_path):
    """A detector at once, or before: the same."""
    pytest.importorskip('mmpose', reason='keypoints need mmpose (extra pose)')
    shown = [folder / 'data' / 'demo' / 'images' / f'val_0000{number}.jpg' for number in (1, 2)]
    keypoints = [
        KEYPOINTS,
        untrained(KEYPOINTS),
        *shown,
        '--box-thr',
        0.09,
        '--box-classes',
        'one',
        'two',
        'six',
    ]
    assert infer_tool(*keypoints, '--det-config', DETECTOR, '--det-checkpoint', untrained(DETECTOR)) == 0
    at_once = written(tmp_path)
    assert infer_tool(DETECTOR, untrained(DETECTOR), *shown) == 0
    detected = written(tmp_path)
    (tmp_path / 'out').rename(tmp_path / 'detected')
    assert (
        infer_tool(*keypoints, '--boxes', tmp_path / 'detected' / 'predictions.json', '--batch-size', 3) == 0
    )
    before = written(tmp_path)
    assert len(at_once) == len(before) > 2
    for one, other in zip(at_once, before, strict=True):
        for key in ('image_id', 'bbox', 'keypoints', 'score'):
            assert one[key] == pytest.approx(other[key], abs=0.02)
    chosen = [line for line in detected if line['category_id'] in (2, 3, 7) and line['score'] >= 0.09]
    assert len(chosen) > len(before)  # what overlaps is left out
    assert {tuple(line['bbox']) for line in before} <= {tuple(line['bbox']) for line in chosen}


@pytest.fixture
def boxes(tmp_path, photo):
    """A file of boxes of the photo and of another image, in which nothing is."""
    other = photo.with_name('two.png')
    other.write_bytes(photo.read_bytes())
    lines = [
        dict(image_id=7, category_id=3, bbox=[10, 10, 30, 30], score=0.9),
        dict(image_id=7, category_id=3, bbox=[12, 12, 30, 30], score=0.8),
        dict(image_id=7, category_id=3, bbox=[50, 10, 30, 30], score=0.2),
        dict(image_id=7, category_id=5, bbox=[50, 20, 30, 30], score=0.9),
    ]
    described = [dict(id=7, file_name='elsewhere/one.png'), dict(id=9, file_name=str(other))]
    categories = [dict(id=5, name='dog'), dict(id=3, name='person')]
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(lines))
    path.with_name('boxes.images.json').write_text(json.dumps(dict(images=described, categories=categories)))
    return path


@pytest.mark.parametrize(
    ('options', 'lefts'),
    [
        ((), [10]),
        (('--box-thr', 0.1), [10, 50]),
        (('--box-nms', 1), [10, 12]),
        (('--box-classes', 'dog'), [50]),
        (('--box-classes', 'dog', 'person', '--box-thr', 0, '--box-nms', 1), [10, 12, 50, 50]),
    ],
)
def test_which_boxes(untrained, photo, boxes, infer_tool, tmp_path, options, lefts):
    pytest.importorskip('mmpose', reason='keypoints need mmpose (extra pose)')
    words = [KEYPOINTS, untrained(KEYPOINTS), photo.parent, '--boxes', boxes, *options, '--score-thr', 0]
    assert infer_tool(*words) == 0
    assert sorted(line['bbox'][0] for line in written(tmp_path)) == lefts
    assert all(line['image_id'] == 1 for line in written(tmp_path))
    other = np.asarray(Picture.open(tmp_path / 'out' / 'two.png'))
    assert (other == np.asarray(Picture.open(photo))).all()  # no box, no keypoint


# ---- mistakes -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ('not json', 'boxes.json is not a list of COCO detection results'),
        ('{}', 'boxes.json is not a list of COCO detection results'),
        ('[{}]', 'boxes.json is not a list of COCO detection results'),
        (None, 'cannot read'),
    ],
)
def test_files_that_are_no_boxes(untrained, photo, boxes, infer_tool, capsys, change, message):
    pytest.importorskip('mmpose', reason='keypoints need mmpose (extra pose)')
    words = [KEYPOINTS, untrained(KEYPOINTS), photo, '--boxes', boxes]
    if change is None:
        boxes.unlink()
    else:
        boxes.write_text(change)
    assert infer_tool(*words) == 2
    assert message in capsys.readouterr().err


def test_boxes_of_other_images_or_classes(untrained, photo, boxes, infer_tool, capsys):
    pytest.importorskip('mmpose', reason='keypoints need mmpose (extra pose)')
    words = [KEYPOINTS, untrained(KEYPOINTS), photo, '--boxes', boxes]
    assert infer_tool(*words, '--box-classes', 'cow') == 2
    assert "has 'cow'; the boxes are of ['dog', 'person']" in capsys.readouterr().err
    photo = photo.rename(photo.with_name('three.png'))
    assert infer_tool(*words[:2], photo, *words[3:]) == 2
    assert 'no such image' in capsys.readouterr().err
    boxes.with_name('boxes.images.json').unlink()
    assert infer_tool(*words[:2], photo, *words[3:]) == 2
    assert 'that --predictions writes' in capsys.readouterr().err
