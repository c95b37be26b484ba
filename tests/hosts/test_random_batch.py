"""The batch of a check is what the config's own pipeline makes, of made-up images."""

import numpy as np
import pytest
import torch
from mmengine.config import Config

from helpers.tooling import CONFIGS, DETECTOR, QUICKEST
from inimg_mm.checking.config import check_config
from inimg_mm.checking.findings import FAULT, UNCHECKED
from inimg_mm.errors import UsageError
from inimg_mm.hosts.random_batch import BuildError, random_batch
from inimg_mm.hosts.sizes import at_size
from inimg_mm.launch import load_config

SMALL = dict(type='inimg_mm.ResNet', depth=18, base_channels=8)


def detector(*transforms, **options):
    pytest.importorskip('mmdet')
    cfg = load_config(CONFIGS[DETECTOR], options)
    if transforms:
        cfg.train_dataloader.dataset.pipeline = list(transforms)
    return cfg


LOADING = (dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True))
PACKING = dict(type='PackDetInputs')


def test_sizes_are_the_pipelines():
    batch = random_batch(detector(*LOADING, dict(type='Resize', scale=(96, 64)), PACKING))
    assert [tuple(image.shape) for image in batch['inputs']] == [(3, 64, 96)] * 2
    boxes = batch['data_samples'][0].gt_instances.bboxes
    assert (boxes.tensor[:, 2:] <= torch.tensor([96.0, 64.0])).all()
    assert not torch.equal(batch['inputs'][0], batch['inputs'][1])


def test_a_size_that_is_asked_for():
    cfg = detector(*LOADING, dict(type='Resize', scale=(96, 64)), PACKING)
    assert tuple(random_batch(cfg, (80, 48))['inputs'][0].shape) == (3, 48, 80)
    assert at_size(cfg, None) is cfg
    with pytest.raises(UsageError, match='at least 1 pixel'):
        random_batch(cfg, (80, 0))


def test_the_same_batch_for_the_same_seed():
    cfg, before = detector(), np.random.get_state()[1].copy()
    first, second, other = (random_batch(cfg, (64, 64), seed=seed)['inputs'][0] for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert first.shape == other.shape
    assert (np.random.get_state()[1] == before).all()


def test_masks_maps_and_proposals():
    loading = dict(type='LoadAnnotations', with_bbox=True, with_mask=True, with_seg=True)
    cfg = detector(
        LOADING[0], dict(type='LoadProposals'), loading, dict(type='Resize', scale=(96, 64)), PACKING
    )
    sample = random_batch(cfg)['data_samples'][0]
    assert sample.gt_instances.masks.masks.shape == (3, 64, 96)
    assert sample.gt_sem_seg.sem_seg.shape == (1, 64, 96)
    assert len(sample.proposals) > 30


@pytest.mark.parametrize('wrapper', ['RepeatDataset', 'ConcatDataset', 'ClassBalancedDataset', 'mosaic'])
def test_wrappers(wrapper):
    cfg = detector(*LOADING, dict(type='Resize', scale=(96, 64)), PACKING)
    own = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        RepeatDataset=dict(type='RepeatDataset', times=2, dataset=own),
        ConcatDataset=dict(type='ConcatDataset', datasets=[own, own, own]),
        ClassBalancedDataset=dict(type='ClassBalancedDataset', oversample_thr=1e-3, dataset=own),
        mosaic=dict(
            type='MultiImageMixDataset',
            dataset=dict(own, pipeline=list(LOADING)),
            pipeline=[dict(type='Mosaic', img_scale=(32, 32), pad_val=114.0), PACKING],
        ),
    )[wrapper]
    assert len(random_batch(cfg)['inputs']) == (3 if wrapper == 'ConcatDataset' else 2)


def test_two_views():
    pytest.importorskip('mmpretrain')
    cfg = load_config(CONFIGS[QUICKEST])
    views = dict(type='MultiView', num_views=2, transforms=[[dict(type='Resize', scale=32)]])
    cfg.train_dataloader.dataset.pipeline = [dict(type='LoadImageFromFile'), views, dict(type='PackInputs')]
    inputs = random_batch(cfg)['inputs']
    assert [tuple(view.shape) for view in inputs] == [(2, 3, 32, 32)] * 2


@pytest.mark.parametrize('channels', [1, 4])
def test_images_of_other_channels(channels):
    kind = {1: 'grayscale', 4: 'unchanged'}[channels]
    cfg = detector(
        dict(type='LoadImageFromFile', color_type=kind),
        LOADING[1],
        dict(type='Resize', scale=(64, 64)),
        PACKING,
        **{'model.backbone.in_channels': channels},
    )
    assert random_batch(cfg)['inputs'][0].shape[0] == channels
    values = {1: [100.0], 4: None}[channels]  # mmengine takes one mean, or three
    cfg.model.data_preprocessor.update(mean=values, std=values, bgr_to_rgb=False)
    assert not [finding for finding in check_config(cfg) if finding.fault]


def test_images_of_channels_that_the_backbone_does_not_read():
    (fault, _) = [
        f for f in check_config(detector(**{'model.backbone.in_channels': 1}), size=(64, 64)) if f.fault
    ]
    assert 'model.backbone reads images of 1 channels, and the pipeline makes them with 3' in fault.text
    assert fault.remedy == 'model.backbone.in_channels=3'


def test_what_cannot_be_tried_is_no_fault():
    cfg = detector(*LOADING, dict(type='Normalise'), PACKING)
    with pytest.raises(BuildError, match='Normalise is not in'):
        random_batch(cfg)
    assert [f.state for f in check_config(cfg) if f.check == 'data'] == [FAULT]
    cfg = detector(*LOADING)  # nothing is packed
    (found,) = [f for f in check_config(cfg) if f.check == 'step']
    assert (found.state, found.text) == (UNCHECKED, "the config's pipeline packs no inputs")
    cfg.pop('train_dataloader'), cfg.pop('val_dataloader'), cfg.pop('test_dataloader')
    (found,) = [f for f in check_config(cfg) if f.check == 'step']
    assert 'no data loader' in found.text


def poses(head, codec, mode='bottomup', transforms=()):
    pytest.importorskip('mmpose')
    pipeline = [
        dict(type='LoadImage'),
        *transforms,
        dict(type='GenerateTarget', encoder=codec),
        dict(type='PackPoseInputs'),
    ]
    model = dict(
        type='BottomupPoseEstimator' if mode == 'bottomup' else 'TopdownPoseEstimator',
        data_preprocessor=dict(type='PoseDataPreprocessor', mean=[100.0] * 3, std=[50.0] * 3),
        backbone=dict(SMALL, out_indices=(0, 1, 2, 3)),
        neck=dict(type='FeatureMapProcessor', concat=True),
        head=dict(head, in_channels=120, decoder=codec),
    )
    data = dict(type='CocoDataset', data_mode=mode, pipeline=pipeline)
    return Config(
        dict(
            default_scope='mmpose',
            model=model,
            train_dataloader=dict(batch_size=2, dataset=data),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-4)),
        )
    )


def test_a_bottom_up_model():
    """The targets are what its codec makes of whole images."""
    codec = dict(
        type='SPR',
        input_size=(128, 128),
        heatmap_size=(32, 32),
        sigma=(4, 2),
        generate_keypoint_heatmaps=True,
    )
    head = dict(
        type='DEKRHead',
        num_keypoints=17,
        num_heatmap_filters=8,
        displacement_loss=dict(type='SoftWeightSmoothL1Loss', use_target_weight=True, supervise_empty=False),
        heatmap_loss=dict(type='KeypointMSELoss', use_target_weight=True),
    )
    transforms = [
        dict(type='BottomupRandomAffine', input_size=(128, 128)),
        dict(type='BottomupGetHeatmapMask'),
    ]
    transforms = [transforms[0]]
    found = check_config(poses(head, codec, transforms=transforms))
    assert [finding for finding in found if finding.fault] == []
    assert found[-1].text.startswith('one, with a loss of ')
