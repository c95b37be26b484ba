"""The batch of a check is of the training data where that is there."""

import json

import pytest
import torch

from helpers.own_data import draw, write_coco
from helpers.tooling import CONFIGS, DETECTOR, QUICKEST
from inimg_mm.checking import config
from inimg_mm.checking.findings import FAULT, NOTE, OK
from inimg_mm.engine.hooks.corrupt_data.corrupt_data import guard_as_a_training
from inimg_mm.hosts.random_batch import real_batch
from inimg_mm.launch import load_config

BLACK_BLUE_FIRST = torch.tensor([30, 60, 90])
"""What write_coco draws, as OpenCV reads it."""


@pytest.fixture
def cfg(tmp_path):
    pytest.importorskip('mmdet')
    root = write_coco(tmp_path, [dict(id=1, name='zero')], dict(train=[(64, 48)] * 3, val=[(64, 48)]))
    cfg = load_config(CONFIGS[DETECTOR])
    cfg.train_dataloader.dataset.update(data_root=str(root), ann_file='train.json')
    cfg.train_dataloader.dataset.pipeline[2].scale = (64, 64)
    return cfg


def data_findings(cfg):
    found = config.check_config(cfg, prepare=guard_as_a_training)
    return [finding for finding in found if finding.check == 'data']


def test_a_real_sample(cfg):
    batch = real_batch(cfg)
    assert [tuple(image.shape) for image in batch['inputs']] == [(3, 48, 64)] * 2
    assert (batch['inputs'][0].float().mean((1, 2)) - BLACK_BLUE_FIRST).abs().max() < 3  # a JPEG
    assert batch['data_samples'][0].gt_instances.bboxes.tensor.tolist() == [[4.0, 4.0, 20.0, 20.0]]
    (found,) = data_findings(cfg)
    assert (found.state, found.text) == (OK, 'a batch of the training data goes through its pipeline')


def test_data_that_is_not_there(cfg, tmp_path):
    cfg.train_dataloader.dataset.data_root = str(tmp_path / 'elsewhere')
    assert real_batch(cfg) is None
    assert data_findings(cfg) == []


def test_data_that_cannot_be_read(cfg, tmp_path):
    """The step is taken all the same, and a note says on what."""
    (tmp_path / 'train.json').write_text('{}')
    (found,) = data_findings(cfg)
    assert found.state is NOTE
    assert 'made-up images are tried: ' in found.text


def test_a_file_that_a_training_would_stop_at(cfg, tmp_path):
    """An image of another size than its annotations say is named as in a training."""
    for image in (tmp_path / 'images').iterdir():
        draw(image, (48, 64))
    (found,) = data_findings(cfg)
    assert found.state is FAULT
    assert str(tmp_path / 'images' / 'train_') in found.text
    assert '48' in found.text


def test_images_without_objects_are_passed_over(cfg, tmp_path):
    path = tmp_path / 'train.json'
    content = json.loads(path.read_text())
    content['annotations'] = content['annotations'][2:]
    path.write_text(json.dumps(content))
    cfg.train_dataloader.dataset.filter_cfg.filter_empty_gt = False
    assert [len(sample.gt_instances) for sample in real_batch(cfg)['data_samples']] == [1, 1]


def test_data_is_read_once_for_all_remedies(cfg, monkeypatch):
    cfg.model.neck.in_channels = [1, 2, 3, 4]
    reads = []
    monkeypatch.setattr(config, 'real_batch', lambda cfg, **options: reads.append(1) or real_batch(cfg))
    faults = [finding for finding in config.check_config(cfg) if finding.fault]
    assert faults[0].remedy.startswith('model.neck.in_channels=')
    assert len(reads) == 1


def test_nothing_is_downloaded(tmp_path, monkeypatch):
    pytest.importorskip('mmpretrain')
    import mmpretrain.datasets.cifar as cifar

    asked = []
    monkeypatch.setattr(cifar, 'download_and_extract_archive', lambda *args, **kwargs: asked.append(args))
    cfg = load_config(CONFIGS[QUICKEST])
    cfg.train_dataloader.dataset = dict(type='CIFAR10', data_root=str(tmp_path), pipeline=[])
    with pytest.raises(RuntimeError):
        real_batch(cfg)
    assert asked == []
