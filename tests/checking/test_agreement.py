"""Heads and data have as many classes and joints as each other, or it is said."""

import json

import pytest
from mmengine.config import Config

from helpers.tooling import CONFIGS, DETECTOR, QUICKEST
from inimg_mm.checking.agreement import check_agreement
from inimg_mm.checking.findings import FAULT, NOTE, OK
from inimg_mm.errors import UsageError
from inimg_mm.launch import load_config
from inimg_mm.launch.preflight import require

NAMES = ['cat', 'dog', 'owl']
WRAPPERS = {
    'RepeatDataset': lambda data: dict(type='RepeatDataset', times=2, dataset=data),
    'ClassBalancedDataset': lambda data: dict(type='ClassBalancedDataset', oversample_thr=1e-3, dataset=data),
    'ConcatDataset': lambda data: dict(type='ConcatDataset', datasets=[data, data]),
}


def differing(cfg, **options):
    return {f.remedy: f.state for f in check_agreement(cfg, **options) if f.state is not OK}


def detector(classes=3, heads=None, names=NAMES):
    pytest.importorskip('mmdet')
    boxes = dict(type='Shared2FCBBoxHead', num_classes=classes)
    model = dict(
        type='MaskRCNN',
        backbone=dict(type='inimg_mm.ResNet', depth=18),
        rpn_head=dict(type='RPNHead', num_classes=1),
        roi_head=dict(bbox_head=heads or boxes, mask_head=dict(type='FCNMaskHead', num_classes=classes)),
    )
    data = dict(type='CocoDataset', metainfo=dict(classes=names)) if names else dict(type='CocoDataset')
    return Config(dict(default_scope='mmdet', model=model, train_dataloader=dict(dataset=data)))


@pytest.mark.parametrize(('classes', 'state'), [(2, FAULT), (80, NOTE)])
@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_boxes_and_masks(classes, state, wrapper):
    cfg = detector(classes)
    cfg.train_dataloader.dataset = WRAPPERS[wrapper](cfg.train_dataloader.dataset)
    assert differing(cfg) == {
        'model.roi_head.bbox_head.num_classes=3': state,
        'model.roi_head.mask_head.num_classes=3': state,
    }
    assert differing(detector(3)) == {}


def test_what_is_said():
    (boxes, _) = check_agreement(detector(2))
    assert boxes.text == (
        'model.roi_head.bbox_head.num_classes is 2, and the train_dataloader has 3 classes (cat, dog, owl): '
        'the others are lost, or end the training'
    )
    with pytest.raises(UsageError, match='--cfg-options model.roi_head.bbox_head.num_classes=3 model.roi'):
        require(check_agreement(detector(2)))


def test_all_heads_of_a_cascade():
    cascade = [dict(type='Shared2FCBBoxHead', num_classes=number) for number in (3, 2, 3)]
    assert differing(detector(3, cascade)) == {'model.roi_head.bbox_head.1.num_classes=3': FAULT}


def test_what_is_not_written():
    """A data set without metainfo has COCO's classes, a head without num_classes its default."""
    cfg = detector(80, names=None)
    cfg.model.roi_head.bbox_head.pop('num_classes')
    assert differing(cfg) == {}
    cfg.train_dataloader.dataset.metainfo = dict(classes=NAMES)
    assert 'model.roi_head.bbox_head.num_classes=3' in differing(cfg)


@pytest.mark.parametrize(('classes', 'state'), [(9, FAULT), (100, NOTE)])
def test_classifier(classes, state):
    pytest.importorskip('mmpretrain')
    cfg = load_config(CONFIGS[QUICKEST], {'model.head.num_classes': classes})
    cfg.train_dataloader.dataset.metainfo = dict(classes=[str(number) for number in range(10)])
    assert differing(cfg) == {'model.head.num_classes=10': state}


def test_folders_of_a_classifier(tmp_path):
    pytest.importorskip('mmpretrain')
    for name in (*NAMES, '.ipynb_checkpoints'):
        (tmp_path / 'train' / name).mkdir(parents=True)
    cfg = load_config(CONFIGS[QUICKEST], {'model.head.num_classes': 2})
    cfg.data_preprocessor.pop('num_classes')
    cfg.train_dataloader.dataset = dict(type='CustomDataset', data_root=str(tmp_path), data_prefix='train')
    assert differing(cfg) == {'model.head.num_classes=3': FAULT}


def listing(tmp_path, labels, **dataset):
    """A classifier of two classes whose training data is a list of images and labels."""
    pytest.importorskip('mmpretrain')
    (tmp_path / 'list.txt').write_text(''.join(f'a b.png {label}\n' for label in labels))
    cfg = load_config(CONFIGS[QUICKEST], {'model.head.num_classes': 2})
    cfg.data_preprocessor.pop('num_classes')
    dataset = dict(type='CustomDataset', data_root=str(tmp_path), ann_file='list.txt') | dataset
    cfg.train_dataloader.dataset = dataset
    return cfg


def test_list_of_a_classifier(tmp_path):
    (found,) = check_agreement(listing(tmp_path, [0, 2, 1]))
    assert found.text.startswith('model.head.num_classes is 2, and the train_dataloader has 3 classes: ')
    (found,) = check_agreement(listing(tmp_path, [0, 3], metainfo=dict(classes=['cat', 'dog'])))
    assert (found.state, found.remedy) == (FAULT, 'model.head.num_classes=4')
    assert differing(listing(tmp_path, [0, 1], type='ImageNet')) == {}
    assert differing(listing(tmp_path, ['x'], with_label=False)) == {}


def test_classes_that_the_annotation_file_names(tmp_path):
    content = dict(metainfo=dict(classes=NAMES), data_list=[])
    (tmp_path / 'own.json').write_text(json.dumps(content))
    several = dict(type='MultiLabelDataset', ann_file='own.json')
    assert differing(listing(tmp_path, [], **several)) == {'model.head.num_classes=3': FAULT}
    cfg = listing(tmp_path, [], **several)
    cfg.model.head.update(type='MultiLabelLinearClsHead', num_classes=4)
    assert differing(cfg) == {'model.head.num_classes=3': FAULT}
    named = dict(several, metainfo=dict(classes=['a', 'b']))  # what the config says comes first
    assert differing(listing(tmp_path, [], **named)) == {}
    (tmp_path / 'own.json').write_text('[]')
    assert differing(listing(tmp_path, [], **several)) == {}


def test_segmenter_with_an_auxiliary_head():
    pytest.importorskip('mmseg')
    model = dict(
        type='EncoderDecoder',
        decode_head=dict(type='FCNHead', num_classes=21),
        auxiliary_head=[dict(type='FCNHead', num_classes=3), dict(type='FCNHead', num_classes=2)],
    )
    data = dict(type='BaseSegDataset', metainfo=dict(classes=NAMES))
    cfg = Config(dict(default_scope='mmseg', model=model, train_dataloader=dict(dataset=data)))
    assert differing(cfg) == {
        'model.decode_head.num_classes=3': NOTE,
        'model.auxiliary_head.1.num_classes=3': FAULT,
    }


def test_things_and_stuff():
    cfg = detector()
    cfg.model.semantic_head = dict(type='PanopticFPNHead', num_things_classes=80, num_stuff_classes=1)
    meta = dict(classes=[*NAMES, 'sky', 'sea'], thing_classes=NAMES, stuff_classes=['sky', 'sea'])
    cfg.train_dataloader.dataset = dict(type='CocoPanopticDataset', metainfo=meta)
    assert differing(cfg) == {
        'model.semantic_head.num_things_classes=3': FAULT,  # its stuff is numbered from there on
        'model.semantic_head.num_stuff_classes=2': FAULT,
    }
    cfg.model.semantic_head.update(num_things_classes=3, num_stuff_classes=2)
    assert [finding.text for finding in check_agreement(cfg)] == [
        '3, in the model as in the train_dataloader',
        '2, in the model as in the train_dataloader',
    ]


JOINTS = {str(n): dict(name=f'joint {n}', id=n, color=[0, 0, 0], type='', swap='') for n in range(14)}
OWN = dict(
    dataset_name='own',
    paper_info=dict(),
    keypoint_info={int(key): value for key, value in JOINTS.items()},
    skeleton_info={},
    joint_weights=[1.0] * 14,
    sigmas=[0.05] * 14,
)


@pytest.mark.parametrize(
    ('head', 'remedy'),
    [
        (dict(type='HeatmapHead', out_channels=17), 'model.head.out_channels=14'),
        (dict(type='RegressionHead', num_joints=13), 'model.head.num_joints=14'),
        (dict(type='AssociativeEmbeddingHead', num_keypoints=17), 'model.head.num_keypoints=14'),
        (
            dict(type='VisPredictHead', pose_cfg=dict(type='HeatmapHead', out_channels=17)),
            'model.head.pose_cfg.out_channels=14',
        ),
        (
            dict(
                type='HeatmapHead', out_channels=17, decoder=dict(type='UDPHeatmap', heatmap_type='combined')
            ),
            'model.head.out_channels=42',
        ),
    ],
)
def test_joints(head, remedy):
    pytest.importorskip('mmpose')
    cfg = Config(
        dict(
            default_scope='mmpose',
            model=dict(type='TopdownPoseEstimator', head=head),
            train_dataloader=dict(dataset=dict(type='CocoDataset', metainfo=OWN)),
        )
    )
    assert differing(cfg) == {remedy: FAULT}
    assert differing(cfg, loaders=['val_dataloader']) == {}


def pose_estimator(head, **model):
    pytest.importorskip('mmpose')
    loader = dict(dataset=dict(type='CocoDataset', metainfo=OWN))
    model = dict(type='TopdownPoseEstimator', head=head, **model)
    return Config(dict(default_scope='mmpose', model=model, train_dataloader=loader, val_dataloader=loader))


def test_joints_that_a_test_picks():
    """Trained on more joints than are tested: those that ``test_cfg`` picks count there."""
    picked = dict(output_keypoint_indices=list(range(14)))
    cfg = pose_estimator(dict(type='HeatmapHead', out_channels=19), test_cfg=picked)
    assert differing(cfg, loaders=['val_dataloader']) == {}
    assert differing(cfg) == {'model.head.out_channels=14': FAULT}
    picked['output_keypoint_indices'].pop()
    cfg = pose_estimator(dict(type='HeatmapHead', out_channels=19), test_cfg=picked)
    assert differing(cfg, loaders=['val_dataloader']) == {'model.head.out_channels=14': FAULT}


def test_channels_that_are_coordinates():
    assert check_agreement(pose_estimator(dict(type='MotionRegressionHead', out_channels=3))) == []


def test_data_that_names_more_than_it_shows():
    """mmdet's MOT data has 13 names, and boxes of pedestrians alone."""
    cfg = detector(classes=1, names=None)
    cfg.train_dataloader.dataset.type = 'MOTChallengeDataset'
    assert differing(cfg) == {}
    cfg.train_dataloader.dataset.metainfo = dict(classes=('pedestrian', 'car'))
    assert set(differing(cfg).values()) == {FAULT}


def test_every_loader_is_compared():
    cfg = load_config(CONFIGS[DETECTOR])
    assert [finding.state for finding in check_agreement(cfg)] == [OK]
    cfg.val_dataloader = dict(dataset=dict(type='CocoDataset', metainfo=dict(classes=['a'] * 11)))
    assert differing(cfg, loaders=['train_dataloader', 'val_dataloader']) == {
        'model.roi_head.bbox_head.num_classes=11': FAULT
    }
