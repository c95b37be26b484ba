"""Every demo config on somebody's own data, by the function and by a three-line delta of the config."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from helpers.own_data import SPLITS, build, draw, named_labels, write_coco
from inimg_mm.datasets import own_data

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'demo'
PURE_PYTHON = CONFIGS.parent / 'coco_detection' / 'faster-rcnn_scnet50_fpn_1x_coco_python.py'


def scope_of(path):
    return 'mmdet' if 'rcnn' in path.name else 'mmpose' if path.name.startswith('td-hm') else 'mmpretrain'


def configs(scope):
    return [
        pytest.param(path, id=path.stem) for path in sorted(CONFIGS.glob('*.py')) if scope_of(path) == scope
    ]


@pytest.fixture
def boxes(tmp_path):
    """Two classes whose ids are neither dense nor in the order of the file."""
    categories = [dict(id=7, name='dog'), dict(id=3, name='cat')]
    return write_coco(tmp_path / 'boxes', categories, dict(train=[(40, 30), (40, 30)], val=[(40, 30)]))


@pytest.fixture
def poses(tmp_path):
    names = ['left_eye', 'right_eye', 'beak']
    categories = [dict(id=1, name='owl', keypoints=names, skeleton=[[1, 3], [2, 3]])]
    return write_coco(tmp_path / 'poses', categories, dict(train=[(40, 30), (40, 30)], val=[(40, 30)]))


@pytest.fixture
def folders(tmp_path):
    root = tmp_path / 'folders'
    for split, count in (('train', 2), ('val', 1)):
        for name in ('cat', 'dog', 'owl'):
            for index in range(count):
                draw(root / split / name / f'{index}.jpg', (50, 40))
    return root


@pytest.fixture(params=['function', 'delta'])
def load(request, tmp_path):
    """Load a config on own data: ``load(path, root, **options)``."""

    def by_function(path, root, **options):
        cfg = Config.fromfile(path)
        own_data(cfg, str(root), **options)
        return cfg

    def by_delta(path, root, **options):
        arguments = ', '.join([repr(str(root)), *(f'{key}={value!r}' for key, value in options.items())])
        delta = tmp_path / 'delta.py'
        delta.write_text(
            f'_base_ = {str(path)!r}\nfrom inimg_mm.datasets import own_data\nown_data(_base_, {arguments})\n'
        )
        return Config.fromfile(delta)

    return {'function': by_function, 'delta': by_delta}[request.param]


def transforms(cfg, loader, name):
    dataset = cfg[loader].dataset
    return [t for t in dataset.get('dataset', dataset).pipeline if t.type == name]


def test_types_given_as_classes(boxes):
    """As in a pure Python config, which takes no delta by ``_base_``."""
    cfg = Config.fromfile(PURE_PYTHON)
    own_data(cfg, str(boxes), image_scale=(64, 48), flip=0.25)
    cfg.train_dataloader.dataset.filter_cfg.min_size = 0
    dataset = build(cfg, 'train_dataloader')
    assert dataset[0]['inputs'].shape == (3, 48, 64)
    assert named_labels(dataset) == ['dog', 'cat']
    assert [t.prob for t in dataset.pipeline.transforms if type(t).__name__ == 'RandomFlip'] == [0.25]


def test_every_demo_config_is_tried():
    tried = [param.values[0] for scope in ('mmdet', 'mmpose', 'mmpretrain') for param in configs(scope)]
    assert sorted(tried) == sorted(CONFIGS.glob('*.py'))
    assert {Config.fromfile(path).default_scope for path in tried} == {scope_of(path) for path in tried}


@pytest.mark.parametrize('path', configs('mmdet'))
def test_detection(path, boxes, load):
    cfg = load(path, boxes, image_scale=(64, 48), flip=0.25, repeat=3)
    for loader in SPLITS:
        dataset = build(cfg, loader)
        assert len(dataset) == (6 if loader == 'train_dataloader' else 1)
        assert sorted(dataset.metainfo['classes']) == ['cat', 'dog']
        assert named_labels(dataset) == ['dog', 'cat']
        item = dataset[0]
        assert item['inputs'].shape == (3, 48, 64)
        assert hasattr(item['data_samples'].gt_instances, 'masks') == path.name.startswith('mask')
    assert [t.prob for t in transforms(cfg, 'train_dataloader', 'RandomFlip')] == [0.25]
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert Path(evaluator.ann_file) == boxes / 'val.json'
    heads = cfg.model.roi_head
    assert {heads[name].num_classes for name in ('bbox_head', 'mask_head') if name in heads} == {2}


@pytest.mark.parametrize('classes', [['dog'], ['cat'], ['dog', 'cat']], ids='-'.join)
@pytest.mark.parametrize('path', configs('mmdet')[:1])
def test_chosen_classes(path, boxes, load, classes):
    cfg = load(path, boxes, classes=classes)
    assert cfg.model.roi_head.bbox_head.num_classes == len(classes)
    for loader in SPLITS:
        dataset = build(cfg, loader)
        assert dataset.metainfo['classes'] == tuple(classes)
        assert named_labels(dataset) == classes


@pytest.mark.parametrize('path', configs('mmdet')[:1])
def test_other_file_names(path, boxes, load):
    (boxes / 'train.json').rename(boxes / 'a.json')
    (boxes / 'val.json').rename(boxes / 'b.json')
    (boxes / 'images').rename(boxes / 'pictures')
    names = dict(train_ann='a.json', val_ann='b.json', train_images='pictures/', val_images='pictures/')
    cfg = load(path, boxes, **names)
    assert [build(cfg, loader)[0]['inputs'].shape[0] for loader in SPLITS] == [3, 3, 3]
    assert Path(cfg.val_evaluator.ann_file) == boxes / 'b.json'


@pytest.mark.parametrize('path', configs('mmdet')[:1])
def test_what_is_not_asked_for_stays(path, boxes, load):
    before, cfg = Config.fromfile(path), load(path, boxes)
    for loader in SPLITS:
        assert cfg[loader].dataset.pipeline == before[loader].dataset.pipeline
        assert cfg[loader].dataset.type == 'CocoDataset'
    assert cfg.model.backbone == before.model.backbone


@pytest.mark.parametrize('path', configs('mmpretrain'))
def test_classification(path, folders, load):
    cfg = load(path, folders, image_scale=(32, 24), flip=0.25, repeat=2)
    for loader, split in SPLITS.items():
        dataset = build(cfg, loader)
        assert len(dataset) == (12 if split == 'train' else 3)
        assert tuple(dataset.metainfo['classes']) == ('cat', 'dog', 'owl')
        assert dataset[0]['inputs'].shape == (3, 24, 32)
        labels = [dataset[i]['data_samples'].gt_label.item() for i in range(3 if split == 'val' else 6)]
        assert labels == ([0, 1, 2] if split == 'val' else [0, 0, 1, 1, 2, 2])
    assert [t.prob for t in transforms(cfg, 'train_dataloader', 'RandomFlip')] == [0.25]
    assert cfg.model.head.num_classes == 3
    assert cfg.get('data_preprocessor', {}).get('num_classes', 3) == 3


@pytest.mark.parametrize('path', configs('mmpose'))
def test_keypoints(path, poses, load):
    cfg = load(path, poses, image_scale=(48, 64), flip=0.25, repeat=3)
    for loader in SPLITS:
        dataset = build(cfg, loader)
        assert len(dataset) == (6 if loader == 'train_dataloader' else 1)
        assert dataset.metainfo['flip_indices'] == [1, 0, 2]
        assert [dataset.metainfo['keypoint_id2name'][i] for i in range(3)] == [
            'left_eye',
            'right_eye',
            'beak',
        ]
        assert dataset.metainfo['skeleton_links'] == [(0, 2), (1, 2)]
        item = dataset[0]
        assert item['inputs'].shape == (3, 64, 48)
    assert build(cfg, 'train_dataloader')[0]['data_samples'].gt_fields.heatmaps.shape == (3, 16, 12)
    assert [t.prob for t in transforms(cfg, 'train_dataloader', 'RandomFlip')] == [0.25]
    assert Path(cfg.val_evaluator.ann_file) == Path(cfg.test_evaluator.ann_file) == poses / 'val.json'
    assert cfg.model.head.out_channels == 3
    decoder = cfg.model.head.decoder
    assert (tuple(decoder.input_size), tuple(decoder.heatmap_size)) == ((48, 64), (12, 16))


def without(transform):
    """Take a transform out of the training pipeline."""

    def change(cfg, root):
        pipeline = cfg.train_dataloader.dataset.pipeline
        cfg.train_dataloader.dataset.pipeline = [t for t in pipeline if t.type != transform]

    return change


def write(name, text):
    return lambda cfg, root: (root / name).write_text(text)


# Options, a change made before the call, and the message.
BAD_BOXES = {
    'missing annotations': (dict(train_ann='labels.json'), None, r'cannot read .*labels\.json: No such file'),
    'missing images': (dict(train_images='pictures/'), None, 'pictures'),
    'not JSON': ({}, write('train.json', 'text'), r'train\.json cannot be read: Expecting value'),
    'a web page': (
        {},
        write('train.json', '<!doctype html>'),
        r'train\.json cannot be read: it is a web page',
    ),
    'not COCO': (
        {},
        write('val.json', '{"images": []}'),
        r'val\.json is broken: it has no list of categories',
    ),
    'not COCO, a list': ({}, write('val.json', '[]'), r'val\.json is broken: it has no list of images'),
    'no categories': (
        {},
        write('train.json', '{"images": [], "categories": []}'),
        r'train\.json has no categories',
    ),
    'one number': (dict(image_scale=320), None, 'image_scale is a width and a height .* and not 320'),
    'no size': (dict(image_scale=(0, -5)), None, r'image_scale .* not \(0, -5\)'),
    'no probability': (dict(flip=7), None, 'flip is a probability from 0 to 1, and not 7'),
    'no times': (dict(repeat=0), None, 'repeat is a number of times, 1 or more, and not 0'),
    'unknown class': (dict(classes=['cat', 'cow']), None, r"train\.json has no class 'cow'.*'cat', 'dog'"),
    'class missing in val': (
        {},
        write('val.json', '{"images": [], "categories": [{"id": 1, "name": "cat"}]}'),
        r"val\.json has no class 'dog'.*\['cat'\]",
    ),
    # CocoDataset numbers the classes in the order of the file, whatever it is told
    'classes in another order': (dict(classes=['cat', 'dog']), None, r"order.*\['dog', 'cat'\]"),
    'val in another order': (
        {},
        write(
            'val.json', '{"images": [], "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]}'
        ),
        r'val\.json.*order',
    ),
    'nothing to flip': (
        dict(flip=0.5),
        without('RandomFlip'),
        'no RandomFlip whose prob could be set to 0.5',
    ),
}
BAD_FOLDERS = {
    'missing val': ({}, lambda cfg, root: (root / 'val').rename(root / 'test'), 'has no folder val/'),
    'class missing in val': ({}, lambda cfg, root: (root / 'val' / 'owl').rename(root / 'owl'), "'owl'"),
    'other classes': (dict(classes=['cat', 'cow']), None, "'cow'"),
}


@pytest.mark.parametrize('case', BAD_BOXES)
def test_bad_boxes(case, boxes):
    options, change, message = BAD_BOXES[case]
    assert_refused(configs('mmdet')[0].values[0], boxes, options, change, message)


@pytest.mark.parametrize('case', BAD_FOLDERS)
def test_bad_folders(case, folders):
    options, change, message = BAD_FOLDERS[case]
    assert_refused(configs('mmpretrain')[0].values[0], folders, options, change, message)


def test_bad_keypoints(poses):
    path = configs('mmpose')[0].values[0]
    content = json.loads((poses / 'train.json').read_text())
    for skeleton in ([[0, 1]], [[1, 4]]):
        content['categories'][0]['skeleton'] = skeleton
        assert_refused(path, poses, {}, write('train.json', json.dumps(content)), 'skeleton links .* 1 to 3')
    del content['categories'][0]['keypoints']
    assert_refused(
        path, poses, {}, write('train.json', json.dumps(content)), r'train\.json names no keypoints'
    )


def test_flips_are_probabilities(boxes):
    """mmcv takes no whole number for one."""
    cfg = Config.fromfile(configs('mmdet')[0].values[0])
    own_data(cfg, str(boxes), flip=0)
    assert [repr(t.prob) for t in transforms(cfg, 'train_dataloader', 'RandomFlip')] == ['0.0']


def test_missing_root(tmp_path):
    with pytest.raises(ValueError, match=r"data_root '.*nowhere' is not a folder"):
        own_data(Config(dict(model={})), str(tmp_path / 'nowhere'))


def assert_refused(path, root, options, change, message):
    cfg = Config.fromfile(path)
    if change:
        change(cfg, root)
    with pytest.raises(ValueError, match=message):
        own_data(cfg, str(root), **options)
