"""tools/infer.py: pictures with what a model predicts in the right place, and the same in words."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

pytest.importorskip('mmdet', reason='the tools launch the hosts (extra mm)')
pytest.importorskip('mmpretrain', reason='the tools launch the hosts (extra mm)')

from mmengine.structures import InstanceData
from pycocotools.coco import COCO

from helpers.tooling import CONFIGS
from inimg_mm import launch
from inimg_mm.registry import build_model

CLASSIFIER = CONFIGS['se-r18_digits']
DETECTOR = CONFIGS['faster-rcnn_cmpese-r18_fpn_digits']
SEGMENTER = CONFIGS['mask-rcnn_ini-r18_fpn_digits']
KEYPOINTS = CONFIGS['td-hm_se-r18_digits-96x96']
DIGITS = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')


def written(folder):
    return json.loads((folder / 'out' / 'predictions.json').read_text())


def changed(picture, photo):
    """Where a picture differs from its photo, as bool (H, W)."""
    drawn, original = (np.asarray(Picture.open(p).convert('RGB')).astype(int) for p in (picture, photo))
    return np.abs(drawn - original).max(axis=-1) > 20


# ---- pictures and words ---------------------------------------------------------------------------------


def test_boxes_and_masks(untrained, photo, infer_tool, tmp_path, monkeypatch):
    from mmdet.models import MaskRCNN

    def predict(self, inputs, samples, rescale=True):
        for sample in samples:
            sample.pred_instances = InstanceData(
                bboxes=torch.tensor([[30.0, 20, 70, 50], [2, 2, 9, 9]]),
                scores=torch.tensor([0.9, 0.25]),
                labels=torch.tensor([3, 9]),
                masks=torch.zeros(2, *sample.ori_shape, dtype=torch.bool),
            )
            sample.pred_instances.masks[0, 30:40, 40:60] = True
        return samples

    monkeypatch.setattr(MaskRCNN, 'predict', predict)
    assert infer_tool(SEGMENTER, untrained(SEGMENTER), photo) == 0
    moved = changed(tmp_path / 'out' / 'one.png', photo)
    ys, xs = np.nonzero(moved)
    assert xs.min() >= 20  # not the box of 0.25
    assert ys.min() >= 10
    assert moved[25:45, 29:32].all()  # the left side
    assert moved[25:45, 69:72].all()  # the right side
    assert moved[49:52, 35:65].all()  # the bottom
    assert moved[34:37, 45:55].all()  # the mask
    assert not moved[43:46, 45:55].any()  # in the box, below it

    first, second = written(tmp_path)
    assert (first['bbox'], first['category_id'], first['score']) == ([30, 20, 40, 30], 4, 0.9)
    assert (second['category_id'], second['score']) == (10, 0.25)
    read = COCO(str(tmp_path / 'out' / 'predictions.images.json'))
    results = read.loadRes(str(tmp_path / 'out' / 'predictions.json'))
    assert results.annToMask(results.anns[1]).sum() == 200
    assert [category['name'] for category in read.cats.values()] == list(DIGITS)
    image = read.imgs[1]
    assert (image['file_name'], image['width'], image['height']) == (str(photo), 90, 60)


def test_something_is_drawn_of_random_weights(untrained, photo, infer_tool, tmp_path):
    assert infer_tool(SEGMENTER, untrained(SEGMENTER), photo, '--score-thr', 0) == 0
    assert changed(tmp_path / 'out' / 'one.png', photo).any()
    assert all(line['segmentation']['size'] == [60, 90] for line in written(tmp_path))


def test_classes(untrained, folder, infer_tool, tmp_path):
    shown = folder / 'data' / 'demo' / 'classification' / 'val'
    assert infer_tool(CLASSIFIER, untrained(CLASSIFIER), shown, '--batch-size', 4) == 0
    found = written(tmp_path)
    assert found['classes'] == [f'class {index}' for index in range(10)]  # nobody says what they are
    assert len(found['images']) == 10
    for image in found['images']:
        picture = tmp_path / 'out' / Path(image['path']).relative_to(shown)
        assert Picture.open(picture).size == (256, 256)  # enough to read the text
        assert image['class'] == f'class {image["label"]}'
    assert infer_tool(CLASSIFIER, untrained(CLASSIFIER), shown / 'one', '--score-thr', 1.1) == 0
    picture = Picture.open(tmp_path / 'out' / '00001.png')
    plain = Picture.open(next((shown / 'one').iterdir())).convert('RGB').resize(picture.size)
    assert np.abs(np.asarray(picture).astype(int) - np.asarray(plain)).mean() < 5  # nothing is that sure


def test_class_maps(untrained, segmentation, infer_tool, tmp_path):
    shown = tmp_path / 'segmentation' / 'images'  # of two sizes, in one batch
    assert infer_tool(segmentation, untrained(segmentation), shown, '--batch-size', 2) == 0
    found = written(tmp_path)
    assert found['classes'] == ['sky', 'cat', 'dog']
    assert [image['map'] for image in found['images']] == [
        'predictions_maps/a/1.png',
        'predictions_maps/b/1.png',
    ]
    for image in found['images']:
        labels = np.asarray(Picture.open(tmp_path / 'out' / image['map']))
        drawn = np.asarray(Picture.open(tmp_path / 'out' / Path(image['path']).relative_to(shown)))
        assert labels.shape == drawn.shape[:2] == (image['height'], image['width'])
        blue = drawn[labels == 0].mean(axis=0)
        assert blue[2] > blue[0] + 40  # the sky's colour in the config


def test_keypoints_in_the_whole_image(untrained, photo, infer_tool, tmp_path, monkeypatch):
    pytest.importorskip('mmpose', reason='keypoints need mmpose (extra pose)')
    from mmpose.models import HeatmapHead

    points = np.array([[[20.0, 15], [70, 15], [20, 45], [70, 45], [45, 30]]], dtype=np.float32)

    def predict(self, feats, samples, test_cfg=None):
        found = []
        for sample in samples:  # the head's places are those of its input
            scale, centre, size = sample.input_scale, sample.input_center, np.array(sample.input_size)
            places = (points - (centre - scale / 2)) / scale * size
            scores = np.array([[0.9, 0.9, 0.9, 0.9, 0.1]], dtype=np.float32)
            found.append(InstanceData(keypoints=places, keypoint_scores=scores))
        return found

    monkeypatch.setattr(HeatmapHead, 'predict', predict)
    assert infer_tool(KEYPOINTS, untrained(KEYPOINTS), photo) == 0
    moved = changed(tmp_path / 'out' / 'one.png', photo)
    assert all(moved[y, x] for x, y in points[0, :4].astype(int))
    assert not moved[30, 45]  # too unsure
    (line,) = written(tmp_path)
    assert line['bbox'] == [0, 0, 90, 60]
    assert np.array(line['keypoints']).reshape(5, 3)[:, :2] == pytest.approx(points[0], abs=0.01)
    read = COCO(str(tmp_path / 'out' / 'predictions.images.json'))
    assert len(read.loadRes(str(tmp_path / 'out' / 'predictions.json')).anns) == 1
    category = read.cats[1]
    assert (category['name'], category['keypoints'][4]) == ('digits', 'centre')
    assert category['skeleton'] == [[1, 5], [2, 5], [3, 5], [4, 5]]


# ---- pure Python configs --------------------------------------------------------------------------------


def test_a_pure_python_config(photo, infer_tool, tmp_path):
    config = tmp_path / 'pure.py'
    config.write_text(
        'from mmengine.dataset import DefaultSampler, default_collate\n'
        'from mmpretrain.datasets import CustomDataset, LoadImageFromFile, PackInputs, Resize\n'
        'from mmpretrain.models import GlobalAveragePooling, ImageClassifier, LinearClsHead\n'
        'from inimg_mm.models.backbones import SEResNet\n'
        "default_scope = 'mmpretrain'\n"
        'model = dict(type=ImageClassifier, backbone=dict(type=SEResNet, depth=18, base_channels=8,\n'
        '    stem_channels=8), neck=dict(type=GlobalAveragePooling),\n'
        '    head=dict(type=LinearClsHead, num_classes=2, in_channels=64))\n'
        'test_dataloader = dict(batch_size=1, collate_fn=dict(type=default_collate),\n'
        '    sampler=dict(type=DefaultSampler), dataset=dict(type=CustomDataset, data_root="nowhere",\n'
        '    metainfo=dict(classes=("cat", "dog")), pipeline=[dict(type=LoadImageFromFile),\n'
        '    dict(type=Resize, scale=32), dict(type=PackInputs)]))\n'
    )
    checkpoint = tmp_path / 'x.pth'
    torch.save(build_model(launch.load_config(config)).state_dict(), checkpoint)
    assert infer_tool(config, checkpoint, photo) == 0
    assert written(tmp_path)['classes'] == ['cat', 'dog']


# ---- mistakes -------------------------------------------------------------------------------------------


class Hostile:
    def __reduce__(self):
        return os.makedirs, ('hostile', 0o777, True)


def test_a_checkpoint_that_runs_code(untrained, photo, infer_tool, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = torch.load(untrained(CLASSIFIER), weights_only=True)
    torch.save({**content, 'meta': Hostile()}, tmp_path / 'x.pth')
    assert infer_tool(CLASSIFIER, 'x.pth', photo) == 2
    assert not (tmp_path / 'hostile').exists()
    assert '--trust' in capsys.readouterr().err
    assert infer_tool(CLASSIFIER, 'x.pth', photo, '--trust') == 0
    assert (tmp_path / 'hostile').is_dir()


@pytest.mark.parametrize(
    ('config', 'words', 'message'),
    [
        (CLASSIFIER, ['--batch-size', 0], '--batch-size is at least 1'),
        (CLASSIFIER, ['--device', 'toaster'], '--device toaster cannot be used'),
        (CLASSIFIER, ['--boxes', 'x.json'], 'boxes are for top-down keypoint models'),
        (DETECTOR, ['--det-config', DETECTOR], 'go together'),
        (DETECTOR, ['--det-config', CLASSIFIER, '--det-checkpoint', 'x'], "mmdet, and not of 'mmpretrain'"),
        (DETECTOR, ['--det-config', DETECTOR, '--det-checkpoint', 'x', '--boxes', 'x'], 'not from both'),
        (DETECTOR, ['--box-thr', 0.5], 'there are none'),
        (DETECTOR, ['--cfg-options', 'test_dataloader=None'], 'no test_dataloader'),
        (DETECTOR, ['--cfg-options', 'default_scope=mmengine'], "not of 'mmengine'"),
        (DETECTOR, ['--cfg-options', 'model.backbone.base_channels=8'], 'not of the model in this config'),
    ],
)
def test_mistakes(untrained, photo, infer_tool, capsys, config, words, message):
    assert infer_tool(config, untrained(config), photo, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith('error: ')
    assert error.count('\n') == 1


def test_what_is_missing(untrained, photo, infer_tool, capsys, tmp_path):
    for words, message in (
        (['x.py', 'x.pth', photo], 'no config file x.py'),
        ([CLASSIFIER, tmp_path / 'x.pth', photo], 'no checkpoint'),
        ([CLASSIFIER, untrained(CLASSIFIER), 'x.jpg'], 'no image or folder x.jpg'),
        ([CLASSIFIER, untrained(CLASSIFIER), photo, '--out-dir', photo], 'cannot make the folder'),
    ):
        assert infer_tool(*words) == 2
        assert message in capsys.readouterr().err


def test_class_maps_have_no_scores(untrained, segmentation, photo, infer_tool, capsys):
    assert infer_tool(segmentation, untrained(segmentation), photo, '--score-thr', 0.5) == 2
    assert '--score-thr has no meaning' in capsys.readouterr().err
