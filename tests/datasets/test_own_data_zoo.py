"""Own data in the zoo's configs, whose bases are the hosts': other data sets, transforms and evaluators."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from helpers.own_data import SPLITS, build, draw, named_labels, overheard, write_coco
from inimg_mm.checking.config import check_config
from inimg_mm.config_tree import nodes
from inimg_mm.datasets import own_data, own_pipelines
from inimg_mm.hosts import HOSTS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def load(name, root, delta=None, **options):
    """A config on own data: by a three-line delta in a file, or by the function."""
    path = CONFIGS / f'{name}.py'
    if delta is None:
        cfg = Config.fromfile(path)
        own_data(cfg, str(root), **options)
        return cfg
    arguments = ', '.join([repr(str(root)), *(f'{key}={value!r}' for key, value in options.items())])
    delta.write_text(
        f'_base_ = {str(path)!r}\nfrom inimg_mm.datasets import own_data\nown_data(_base_, {arguments})\n'
    )
    return Config.fromfile(delta)


def assert_it_trains(cfg, size=(64, 64)):
    assert [finding for finding in check_config(cfg, init=False, size=size) if finding.fault] == []


def numbers(cfg, name):
    return {node[name] for node in nodes([cfg.model, cfg.get('data_preprocessor')]) if name in node}


# ---- COCO format -------------------------------------------------------------------------------------


@pytest.fixture
def boxes(tmp_path):
    categories = [dict(id=7, name='dog'), dict(id=3, name='cat')]
    return write_coco(tmp_path / 'boxes', categories, dict(train=[(80, 60)] * 2, val=[(80, 60)]))


@pytest.mark.parametrize(
    'name',
    [
        'coco_detection/retinanet_scnet50_fpn_1x_coco',
        'coco_detection/faster-rcnn_se-r50-warm_fpn_1x_coco',
        'coco_instance/cascade-mask-rcnn_ini-r50_fpn_2x_coco',
    ],
)
def test_detection(name, boxes, tmp_path):
    cfg = load(name, boxes, tmp_path / 'delta.py', image_scale=(64, 48), flip=0.25)
    assert numbers(cfg, 'num_classes') == {2}
    for loader in SPLITS:
        dataset = build(cfg, loader)
        assert len(dataset) == (2 if loader == 'train_dataloader' else 1)
        assert dataset[0]['inputs'].shape == (3, 48, 64)
        assert named_labels(dataset) == ['dog', 'cat']
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert Path(evaluator.ann_file) == boxes / 'val.json'
    if name.endswith('1x_coco'):
        assert_it_trains(cfg)


@pytest.mark.parametrize(
    'transform',
    [
        dict(type='RandomChoiceResize', scales=[(1333, 480), (1333, 800)], keep_ratio=True),
        dict(type='RandomResize', scale=(1333, 800), ratio_range=(1.0, 1.0), keep_ratio=True),
    ],
    ids=lambda transform: transform['type'],
)
def test_training_at_several_scales(transform, boxes):
    cfg = Config.fromfile(CONFIGS / 'coco_detection' / 'faster-rcnn_scnet50_fpn_1x_coco.py')
    pipeline = cfg.train_dataloader.dataset.pipeline
    cfg.train_dataloader.dataset.pipeline = [transform if t.type == 'Resize' else t for t in pipeline]
    own_data(cfg, str(boxes), image_scale=(64, 48))
    assert build(cfg, 'train_dataloader')[0]['inputs'].shape == (3, 48, 64)


@pytest.mark.parametrize('name', ['', '_python'])
def test_keypoints(name, tmp_path):
    names = ['left_eye', 'right_eye', 'beak']
    categories = [dict(id=1, name='owl', keypoints=names, skeleton=[[1, 3], [2, 3]])]
    root = write_coco(tmp_path / 'poses', categories, dict(train=[(40, 30)] * 2, val=[(40, 30)]))
    name = f'coco_keypoint/td-hm_scnet50_8xb64-210e_coco-256x192{name}'
    cfg = load(name, root, None if name.endswith('python') else tmp_path / 'delta.py', image_scale=(64, 96))
    for loader in SPLITS:
        dataset = build(cfg, loader)  # the base's has a file of detected persons
        assert len(dataset) == (2 if loader == 'train_dataloader' else 1)
        assert dataset.metainfo['flip_indices'] == [1, 0, 2]
        assert dataset[0]['inputs'].shape == (3, 96, 64)
    assert build(cfg, 'train_dataloader')[0]['data_samples'].gt_fields.heatmaps.shape == (3, 24, 16)
    assert Path(cfg.val_evaluator.ann_file) == Path(cfg.test_evaluator.ann_file) == root / 'val.json'
    assert cfg.model.head.out_channels == 3
    assert_it_trains(cfg, (64, 96))


# ---- a folder a class --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'name', ['se-r50_32xb32_in1k', 'scnet50-v1d_8xb32_in1k', 'cmpese-r50-1x1_8xb32_in1k_python']
)
def test_classification(name, tmp_path):
    for split in ('train', 'val'):
        for label in ('cat', 'dog', 'owl'):
            draw(tmp_path / 'data' / split / label / '0.jpg', (50, 50))
    # ImageNet's lists, which are not of this data
    (tmp_path / 'data' / 'meta').mkdir()
    (tmp_path / 'data' / 'meta' / 'train.txt').write_text('n01440764/n01440764_18.JPEG 0\n')
    delta = None if name.endswith('python') else tmp_path / 'delta.py'
    cfg = load(f'imagenet/{name}', tmp_path / 'data', delta, image_scale=(32, 24), flip=0.25)
    for loader in SPLITS:
        dataset = build(cfg, loader)
        assert tuple(dataset.metainfo['classes']) == ('cat', 'dog', 'owl')
        assert [dataset[i]['data_samples'].gt_label.item() for i in range(len(dataset))] == [0, 1, 2]
        assert dataset[0]['inputs'].shape == (3, 24, 32)
    assert numbers(cfg, 'num_classes') == {3}
    assert (
        tuple(cfg.val_evaluator.topk) == tuple(cfg.model.head.topk) == (1,)
    )  # a fifth of three there is not
    (edge,) = [t for t in cfg.val_dataloader.dataset.pipeline if t.get('edge')]
    assert edge.scale == round(32 * 256 / 224)
    assert_it_trains(cfg)


@pytest.mark.parametrize('name', ['cifar/wrn16-8_1xb128_cifar100', 'svhn/wrn16-8_1xb128_svhn'])
def test_a_data_set_that_had_the_pixels(name, tmp_path):
    """CIFAR's and SVHN's pipelines read no files, and what they get is RGB."""
    for split in ('train', 'val'):
        for label in ('cat', 'dog'):
            draw(tmp_path / 'data' / split / label / '0.png', (32, 32))
    cfg = load(name, tmp_path / 'data', tmp_path / 'delta.py')
    for loader in SPLITS:
        pixels = build(cfg, loader)[0]['inputs']
        assert pixels.shape == (3, 32, 32)
        assert pixels[:, 16, 16].tolist() == [30, 60, 90]  # BGR of what draw() painted
    assert cfg.data_preprocessor.to_rgb
    assert numbers(cfg, 'num_classes') == {2}


# ---- a label map an image ----------------------------------------------------------------------------


@pytest.fixture
def maps(tmp_path):
    for split, count in (('train', 2), ('val', 1)):
        (tmp_path / 'maps' / 'labels' / split).mkdir(parents=True)
        for index in range(count):
            draw(tmp_path / 'maps' / 'images' / split / f'{index}.jpeg', (96, 64))
            labels = np.full((64, 96), 255, np.uint8)
            labels[:32], labels[32:60] = 0, 1
            Image.fromarray(labels).save(tmp_path / 'maps' / 'labels' / split / f'{index}.png')
    return tmp_path / 'maps'


@pytest.mark.parametrize(
    'name',
    [
        'fcn-8s_scnet50_4xb4-20k_voc12aug-512x512',
        'fcn_ini-r50-d8_4xb4-20k_voc12aug-512x512',
        'fcn-8s_scnet50_4xb4-20k_voc12aug-512x512_python',
    ],
)
def test_segmentation(name, maps, tmp_path):
    delta = None if name.endswith('python') else tmp_path / 'delta.py'
    options = dict(classes=('sky', 'sea'), image_scale=(48, 32), flip=0.25, repeat=2)
    cfg = load(f'voc_semantic/{name}', maps, delta, **options)
    for loader in SPLITS:
        dataset = build(cfg, loader)
        assert len(dataset) == (4 if loader == 'train_dataloader' else 1)
        assert tuple(dataset.metainfo['classes']) == ('sky', 'sea')
        item = dataset[0]
        assert set(item['data_samples'].gt_sem_seg.data.unique().tolist()) <= {0, 1, 255}
        assert item['inputs'].shape == (3, 32, 48)
    assert numbers(cfg, 'num_classes') == {2}
    assert_it_trains(cfg)


BAD_MAPS = {
    'no classes': (dict(), None, 'give classes'),
    'no folder': (dict(classes=['a']), lambda root: (root / 'labels').rename(root / 'x'), 'labels/train/'),
    'no label': (
        dict(classes=['a']),
        lambda root: (root / 'labels' / 'val' / '0.png').unlink(),
        r'images/val/0\.jpeg has no label map .*labels/val/0\.png',
    ),
    'another folder': (
        dict(classes=['a']),
        lambda root: (root / 'images' / 'val').rename(root / 'images' / 'valid'),
        r'no folder images/val/; there is valid/, which val_images and val_labels can name',
    ),
    'no crop': (dict(classes=['a'], crop_size=320), None, 'crop_size is a width and a height in pixels'),
}


@pytest.mark.parametrize('case', BAD_MAPS)
def test_bad_maps(case, maps):
    options, change, message = BAD_MAPS[case]
    if change:
        change(maps)
    with pytest.raises(ValueError, match=message):
        load('voc_semantic/fcn-8s_scnet50_4xb4-20k_voc12aug-512x512', maps, **options)


def test_nothing_to_resize(maps):
    cfg = Config.fromfile(CONFIGS / 'voc_semantic' / 'fcn-8s_scnet50_4xb4-20k_voc12aug-512x512.py')
    pipeline = cfg.val_dataloader.dataset.pipeline
    for loader in ('val_dataloader', 'test_dataloader'):
        cfg[loader].dataset.pipeline = [t for t in pipeline if t.type != 'Resize']
    with pytest.raises(ValueError, match=r'the test pipeline has none of Resize.*\(48, 32\)'):
        own_data(cfg, str(maps), classes=('sky', 'sea'), image_scale=(48, 32))


def crops(cfg):
    return [t for t in cfg.train_dataloader.dataset.pipeline if t.type in ('RandomCrop', 'Pad')]


@pytest.mark.parametrize(
    ('options', 'size'),
    [
        (dict(image_scale=(48, 32)), (48, 32)),
        (dict(image_scale=(1024, 256)), (512, 256)),
        (dict(crop_size=(80, 64), image_scale=(48, 32)), (80, 64)),
        (dict(), (512, 512)),
    ],
)
def test_crops_follow_the_images(options, size, maps):
    cfg = load(
        'voc_semantic/fcn-8s_scnet50_4xb4-20k_voc12aug-512x512', maps, classes=('sky', 'sea'), **options
    )
    crop, pad = crops(cfg)
    assert tuple(crop.crop_size) == size[::-1]
    assert tuple(pad.size) == size
    assert HOSTS['mmseg'].input_size(cfg) == size
    assert tuple(build(cfg, 'train_dataloader')[0]['inputs'].shape[1:]) == size[::-1]


@pytest.mark.parametrize(
    ('options', 'share'),
    [
        (dict(image_scale=(96, 64), crop_size=(512, 512)), '96%'),
        (dict(image_scale=(96, 64)), None),
        (dict(), None),
    ],
)
def test_crops_that_are_mostly_padding_are_told(options, share, maps, monkeypatch):
    said = overheard(monkeypatch)
    load('voc_semantic/fcn-8s_scnet50_4xb4-20k_voc12aug-512x512', maps, classes=('sky', 'sea'), **options)
    found = [text for text in said if 'is padding' in text]
    assert bool(found) == (share is not None)
    if share:
        assert f'{share} of a training crop of 512x512 is padding' in found[0]


def test_what_crops_are_padded_to_follows_them():
    train = [dict(type='RandomCrop', crop_size=512), dict(type='Pad', size=(512, 512))]
    preprocessor = dict(size=(512, 512))
    assert own_pipelines.set_crop(train, [None, preprocessor], None, (320, 240)) == (320, 240)
    assert preprocessor == dict(size=(240, 320))
    assert train == [dict(type='RandomCrop', crop_size=(240, 320)), dict(type='Pad', size=(320, 240))]
    with pytest.raises(ValueError, match=r'no RandomCrop whose size could be set to \(32, 32\)'):
        own_pipelines.set_crop(train[1:], [], (32, 32), None)


def test_label_maps_in_subfolders_of_any_suffix_and_name(maps):
    (maps / 'images' / 'train' / 'city').mkdir()
    (maps / 'labels' / 'train' / 'city').mkdir()
    (maps / 'images' / 'train' / '1.jpeg').unlink()
    draw(maps / 'images' / 'train' / 'city' / '1.webp', (96, 64))
    (maps / 'labels' / 'train' / '1.png').rename(maps / 'labels' / 'train' / 'city' / '1.png')
    draw(maps / 'images' / 'train' / '.cache' / '1.jpeg', (96, 64))
    (maps / 'images' / 'val').rename(maps / 'valid')
    (maps / 'labels' / 'val').rename(maps / 'valid_maps')
    folders = dict(val_images='valid', val_labels='valid_maps')
    cfg = load('voc_semantic/fcn-8s_scnet50_4xb4-20k_voc12aug-512x512', maps, classes='sky', **folders)
    dataset = build(cfg, 'train_dataloader')
    paths = [Path(dataset.get_data_info(index)['seg_map_path']) for index in range(len(dataset))]
    assert [path.relative_to(maps / 'labels' / 'train').as_posix() for path in paths] == [
        '0.png',
        'city/1.png',
    ]
    assert dataset.metainfo['classes'] == ('sky',)
    assert len(build(cfg, 'val_dataloader')) == 1


# ---- other formats ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'base', ['pascal_voc/faster-rcnn_r50_fpn_1x_voc0712', 'cityscapes/mask-rcnn_r50_fpn_1x_cityscapes']
)
def test_a_base_of_another_format(base, boxes, tmp_path):
    """Of two data sets of VOC there is one now, and its metric reads what it reads."""
    config = tmp_path / 'mine.py'
    config.write_text(f"_base_ = 'mmdet::{base}.py'\n")
    cfg = Config.fromfile(config)
    own_data(cfg, str(boxes), image_scale=(64, 48))
    for loader in SPLITS:
        dataset = build(cfg, loader)
        assert len(dataset) % (2 if loader == 'train_dataloader' else 1) == 0
        inner = dataset
        while hasattr(inner, 'datasets') or hasattr(inner, 'dataset'):
            inner = inner.datasets[0] if hasattr(inner, 'datasets') else inner.dataset
        assert type(inner).__name__ == 'CocoDataset'
        assert inner.metainfo['classes'] == ('dog', 'cat')
        assert len(inner) == (2 if loader == 'train_dataloader' else 1)
    masks = ['bbox', 'segm'] if 'mask' in base else 'bbox'
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        (metric,) = evaluator if isinstance(evaluator, list) else [evaluator]
        assert metric['type'] == 'CocoMetric'
        assert metric['ann_file'] == str(boxes / 'val.json')
        assert metric['metric'] == masks


def test_keypoints_of_another_format(tmp_path):
    categories = [dict(id=1, name='owl', keypoints=['left_eye', 'right_eye', 'beak'])]
    root = write_coco(tmp_path / 'poses', categories, dict(train=[(40, 30)] * 2, val=[(40, 30)]))
    config = tmp_path / 'mine.py'
    config.write_text(
        "_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_res50_8xb64-210e_mpii-256x256.py'\n"
    )
    cfg = Config.fromfile(config)
    own_data(cfg, str(root), metrics=('ap', 'pck'))
    assert [len(build(cfg, loader)) for loader in SPLITS] == [2, 1, 1]
    assert [metric['type'] for metric in cfg.val_evaluator] == ['CocoMetric', 'PCKAccuracy']
    assert cfg.val_evaluator[0]['ann_file'] == str(root / 'val.json')
    assert cfg.default_hooks.checkpoint.save_best == 'coco/AP'
    assert cfg.model.head.out_channels == 3
