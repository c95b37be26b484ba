"""Small data sets of all kinds."""

import json
from importlib import import_module

import pytest
from mmengine.registry import DefaultScope
from PIL import Image

SPLITS = {'train_dataloader': 'train', 'val_dataloader': 'val', 'test_dataloader': 'val'}


def build(cfg, loader):
    """The data set of a loader, built by the host."""
    host = cfg.default_scope
    pytest.importorskip(host)
    with DefaultScope.overwrite_default_scope(host):
        return import_module(f'{host}.registry').DATASETS.build(cfg[loader].dataset)


def draw(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, (90, 60, 30)).save(path)


def named_labels(dataset):
    """The names of the first image's labels, which write_coco drew in the order of the file."""
    labels = dataset[0]['data_samples'].gt_instances.labels
    return [dataset.metainfo['classes'][label] for label in labels]


def write_coco(root, categories, images):
    """``train.json`` and ``val.json``; every image shows one instance of every category."""
    for split, sizes in images.items():
        content = dict(categories=categories, images=[], annotations=[])
        for index, (width, height) in enumerate(sizes, 1):
            name = f'{split}_{index}.jpg'
            draw(root / 'images' / name, (width, height))
            content['images'].append(dict(id=index, file_name=name, width=width, height=height))
            for category in categories:
                content['annotations'].append(
                    dict(
                        id=len(content['annotations']) + 1,
                        image_id=index,
                        category_id=category['id'],
                        bbox=[4, 4, 16, 16],
                        area=256,
                        iscrowd=0,
                        segmentation=[[4, 4, 20, 4, 20, 20, 4, 20]],
                        keypoints=[6, 6, 2, 18, 6, 2, 12, 18, 1],
                        num_keypoints=3,
                    )
                )
        (root / f'{split}.json').write_text(json.dumps(content))
    return root


def overheard(monkeypatch):
    """The list that what own data says of itself goes into."""
    told = []
    module = import_module('inimg_mm.datasets.own_data')  # the package has the function under this name
    monkeypatch.setattr(module, 'print_log', lambda text, *_: told.append(text))
    return told
