"""What can only be seen on loading is named with its file and both sizes, in every host."""

import json
import pickle

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from helpers.own_data import build, draw, write_coco
from helpers.tooling import CONFIGS, DETECTOR, ROOT
from inimg_mm.data_files.annotation_files import Reading, look_through
from inimg_mm.datasets import own_data
from inimg_mm.engine.hooks import CorruptDataError
from inimg_mm.engine.hooks.corrupt_data.corrupt_data import _sizes
from inimg_mm.engine.hooks.corrupt_data.guarded_loading import guard
from inimg_mm.engine.hooks.corrupt_data.loaded_sizes import LoadedSizes

TURNED_BY_A_QUARTER = 6
SEGMENTER = ROOT / 'configs' / 'voc_semantic' / 'fcn-8s_scnet50_4xb4-20k_voc12aug-512x512.py'


def turn(path):
    """Mark a photo as held upright, which decoders turn; the pixels stay."""
    with Image.open(path) as picture:
        exif = picture.getexif()
        exif[0x0112] = TURNED_BY_A_QUARTER
        picture.save(path, exif=exif)


@pytest.mark.parametrize('loader', ['train_dataloader', 'val_dataloader'])
@pytest.mark.parametrize('name', [DETECTOR, 'td-hm_se-r18_digits-96x96'])
def test_a_photo_turned_by_its_camera(name, loader, tmp_path):
    points = dict(keypoints=['a', 'b', 'c']) if name.startswith('td-hm') else {}
    root = write_coco(tmp_path, [dict(id=1, name='cat', **points)], dict(train=[(40, 30)], val=[(40, 30)]))
    cfg = Config.fromfile(CONFIGS[name])
    own_data(cfg, str(root))
    split = loader.removesuffix('_dataloader')
    dataset = build(cfg, loader)
    guard(dataset, sizes=_sizes)
    dataset[0]
    turn(root / 'images' / f'{split}_1.jpg')
    message = (
        rf'{split}_1\.jpg \(image id 1 of .*{split}\.json\) is corrupt: it is 30 wide and 40 high as it is'
    )
    with pytest.raises(
        CorruptDataError, match=f'{message}.*and 40 wide and 30 high in its annotations; an EXIF'
    ):
        dataset[0]


@pytest.fixture
def maps(tmp_path):
    pytest.importorskip('mmseg')
    for split in ('train', 'val'):
        draw(tmp_path / 'images' / split / 'a.jpg', (40, 30))
        (tmp_path / 'labels' / split).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize('loader', ['train_dataloader', 'val_dataloader'])
@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        ((30, 40, 3), 'is corrupt: it has 3 channels, and one class index a pixel is wanted'),
        ((15, 20), 'is corrupt: it is 20 wide and 15 high, and its image 40 wide and 30 high'),
        ((40, 30), 'is corrupt: it is 30 wide and 40 high, and its image 40 wide and 30 high'),
    ],
)
def test_label_maps_that_do_not_fit(shape, message, loader, maps):
    split = loader.removesuffix('_dataloader')
    for one in ('train', 'val'):
        label = maps / 'labels' / one / 'a.png'
        Image.fromarray(np.zeros((30, 40), np.uint8)).save(label)
    cfg = Config.fromfile(SEGMENTER)
    own_data(cfg, str(maps), classes=('sky', 'sea'), image_scale=(40, 30))
    dataset = build(cfg, loader)
    guard(dataset)
    dataset[0]
    Image.fromarray(np.zeros(shape, np.uint8)).save(maps / 'labels' / split / 'a.png')
    with pytest.raises(CorruptDataError, match=rf'labels/{split}/a\.png .*{message}'):
        dataset[0]


def test_the_step_is_put_in_once_and_sent_to_spawned_workers(tmp_path):
    root = write_coco(tmp_path, [dict(id=1, name='cat')], dict(train=[(40, 30)], val=[(40, 30)]))
    cfg = Config.fromfile(CONFIGS[DETECTOR])
    own_data(cfg, str(root))
    dataset = build(cfg, 'train_dataloader')
    guard(dataset)
    guard(dataset)
    kinds = [type(step).__name__ for step in dataset.pipeline.transforms]
    assert kinds.count('LoadedSizes') == 1
    assert kinds.index('LoadedSizes') == kinds.index('LoadAnnotations') + 1
    assert isinstance(pickle.loads(pickle.dumps(dataset)).pipeline.transforms[2], LoadedSizes)
    assert _sizes(dataset) is None  # mmdet's samples have the sizes themselves


def test_an_annotation_file_of_keypoints_is_not_read_again(tmp_path, monkeypatch):
    from inimg_mm.data_files import annotation_files

    categories = [dict(id=1, name='cat', keypoints=['a', 'b', 'c'])]
    root = write_coco(tmp_path, categories, dict(train=[(40, 30)], val=[(40, 30)]))
    cfg = Config.fromfile(CONFIGS['td-hm_se-r18_digits-96x96'])
    own_data(cfg, str(root))
    look_through(root / 'train.json', Reading('mmpose'))
    dataset = build(cfg, 'train_dataloader')
    monkeypatch.setattr(annotation_files, 'read_annotations', lambda path: pytest.fail('read again'))
    assert _sizes(dataset) == {1: dict(width=40, height=30)}
    assert json.loads((root / 'train.json').read_text())['images'][0]['width'] == 40
