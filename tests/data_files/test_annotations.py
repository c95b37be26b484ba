"""Broken entries of annotation files and image files that are cut off have a name."""

import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.tooling import CONFIGS, DETECTOR, ROOT
from inimg_mm.data_files import checks
from inimg_mm.data_files.annotation_files import read_annotations
from inimg_mm.data_files.annotations import find_broken, without
from inimg_mm.data_files.image_files import why_broken
from inimg_mm.errors import AnnotationError
from inimg_mm.launch import load_config

SHARED = ROOT.parent / 'shared' / 'data'
WHOLE = dict(
    images=[
        dict(id=1, file_name='one.jpg', width=40, height=30),
        dict(id=2, file_name='two.jpg', width=40, height=30),
    ],
    categories=[dict(id=3, name='cat')],
    annotations=[
        dict(
            id=10,
            image_id=1,
            category_id=3,
            bbox=[1, 2, 3.5, 4],
            area=14,
            iscrowd=0,
            segmentation=[[0, 0, 5, 0, 5, 5]],
            keypoints=[1, 2, 2, 0, 0, 0],
        ),
        dict(
            id=11,
            image_id=2,
            category_id=3,
            bbox=[-3, 2, 0, 4],  # reaches out of the image, and has no width
            area=0,
            iscrowd=1,
            segmentation=dict(size=[30, 40], counts=[2, 3]),
        ),
        dict(
            id=12,
            image_id=2,
            category_id=3,
            bbox=[1, 1, 2, 2],
            area=4,
            iscrowd=0,
            segmentation=dict(size=[30, 40], counts='x'),
        ),
    ],
)


def changed(place, **values):
    """The annotations with one of them changed; None takes a value away."""
    content = copy.deepcopy(WHOLE)
    for key, value in values.items():
        if value is None:
            del content['annotations'][place][key]
        else:
            content['annotations'][place][key] = value
    return content


def test_whole_annotations_pass():
    assert find_broken(WHOLE, masks=True) == []
    assert find_broken(dict(images=WHOLE['images'], categories=WHOLE['categories'])) == []  # a test set


@pytest.mark.parametrize('name', ['bccd/train.json', 'coco_sample/person_keypoints.json'])
def test_real_annotations_pass(name):
    found = list(SHARED.rglob(name.split('/')[-1])) if SHARED.is_dir() else []
    if not found:
        pytest.skip(f'no {name} in ../shared/data')
    assert find_broken(read_annotations(found[0]), masks='person' in name) == []


def test_demo_annotations_pass(folder):
    for name in ('train.json', 'val.json'):
        assert find_broken(read_annotations(folder / 'data' / 'demo' / name), masks=True) == []


@pytest.mark.parametrize(
    ('values', 'fault'),
    [
        (dict(bbox=None), 'it has no bbox'),
        (dict(bbox=[1, 2, 3]), 'its bbox [1, 2, 3] is not four finite numbers'),
        (dict(bbox=[1, 2, float('nan'), 4]), 'not four finite numbers'),
        (dict(bbox=[1, 2, float('inf'), 4]), 'not four finite numbers'),
        (dict(bbox=['1', '2', '3', '4']), 'not four finite numbers'),
        (dict(bbox=[1, 2, -3, 4]), 'its bbox [1, 2, -3, 4] has a negative size'),
        (dict(image_id=9), 'there is no such image'),
        (dict(image_id=None), 'there is no such image'),
        (dict(category_id=9), 'there is no category 9'),
        (dict(bbox=[1, 2, 10**400, 4]), 'not four finite numbers'),
        (
            dict(bbox=[40, 2, 3, 4]),
            'its bbox [40, 2, 3, 4] is outside the image, which is 40 wide and 30 high',
        ),
        (dict(bbox=[1, -4, 3, 4]), 'is outside the image'),
        (dict(area='14'), "its area is '14'"),
        (dict(area=-1), 'its area is -1'),
        (dict(area=float('nan')), 'its area is nan'),
        (dict(id=11), 'the id occurs again'),
        (dict(keypoints=[1, 2]), 'its keypoints are not threes of finite numbers'),
        (dict(keypoints=[1, float('nan'), 2]), 'its keypoints are not threes of finite numbers'),
    ],
)
def test_a_broken_annotation(values, fault):
    assert find_broken(changed(1, bbox=[40, 2, 0, 0])) == []  # no size
    (broken,) = find_broken(changed(0, **values))
    content = changed(0, **values)
    assert fault in broken.reason
    assert broken.reason.startswith(f'annotation {values.get("id", 10)} of image ')
    if 'image_id' not in values:
        assert 'one.jpg' in broken.reason
    cleaned = without(content, [broken])
    assert [a['id'] for a in cleaned['annotations']] == [11, 12]
    assert cleaned['images'] == WHOLE['images']
    assert find_broken(cleaned) == []


@pytest.mark.parametrize(
    'mask',
    [
        None,
        [],
        [[0, 0, 5, 0]],
        [[0, 0, 5, 0, 5]],
        [[0, 0, 5, 0, 5, 5], [1, 2, float('nan'), 4, 5, 6]],
        dict(counts=[1]),
        dict(size=[1, 2]),
        dict(size=[30, 40], counts=[]),
        dict(size=[30, 40], counts=[-1, 2]),
        dict(size=[30, 40], counts=[1000, 201]),
        dict(size=[40, 30], counts=[2, 3]),
        dict(size=[30], counts=[2, 3]),
        'text',
    ],
    ids=str,
)
def test_a_broken_mask(mask):
    content = changed(0, segmentation=mask)
    assert find_broken(content) == []  # masks are not read
    (broken,) = find_broken(content, masks=True)
    assert 'annotation 10 of image 1 (one.jpg)' in broken.reason
    assert 'segmentation' in broken.reason or 'run lengths' in broken.reason


def test_a_broken_image_goes_with_its_annotations():
    content = copy.deepcopy(WHOLE)
    del content['images'][1]['width'], content['images'][1]['file_name']
    (broken,) = find_broken(content)
    assert broken.reason == 'image 2 (None) has no file_name, width'
    cleaned = without(content, [broken])
    assert [image['id'] for image in cleaned['images']] == [1]
    assert [annotation['id'] for annotation in cleaned['annotations']] == [10]


@pytest.mark.parametrize(
    ('values', 'fault'),
    [
        (dict(width=0), 'image 2 (two.jpg) has the size [0, 30]'),
        (dict(height='30'), "image 2 (two.jpg) has the size [40, '30']"),
        (dict(height=None), 'image 2 (two.jpg) has no height'),
        (dict(file_name=5), 'image 2 (5) has a file_name that is no text'),
        (dict(file_name=''), 'image 2 () has no file_name'),
    ],
)
def test_a_broken_image(values, fault):
    content = copy.deepcopy(WHOLE)
    content['images'][1].update(values)
    assert find_broken(content)[0].reason == fault


def test_images_of_one_id():
    content = copy.deepcopy(WHOLE)
    content['images'].append(dict(content['images'][0], file_name='three.jpg'))
    broken = find_broken(content)
    assert [one.reason for one in broken] == [
        'image 1 (one.jpg) has the id of another image',
        'image 1 (three.jpg) has the id of another image',
    ]
    assert [image['id'] for image in without(content, broken)['images']] == [2]


def test_as_many_keypoints_as_the_category_has():
    content = copy.deepcopy(WHOLE)
    content['categories'][0]['keypoints'] = ['nose', 'tail']
    assert find_broken(content) == []
    content['categories'][0]['keypoints'] = ['nose', 'tail', 'paw']
    (broken,) = find_broken(content)
    assert broken.reason.endswith('it has 2 keypoints, and its category has 3')


def test_what_is_needed():
    content = changed(0, id=None)
    assert [b.reason for b in find_broken(content)] == ['annotation None of image 1 (one.jpg): it has no id']
    (broken,) = find_broken(changed(2, area=None), needed=('id', 'area'))
    assert broken.reason == 'annotation 12 of image 2 (two.jpg): it has no area'


@pytest.mark.parametrize(
    ('categories', 'message'),
    [
        ([dict(id=3)], "its category {'id': 3} has no name"),
        ([dict(name='cat')], 'has no id'),
        ([None], 'its category None has no id'),
        ([dict(id=3, name='cat'), dict(id=3, name='dog')], 'two of its categories have the id 3'),
    ],
)
def test_broken_categories(categories, message):
    with pytest.raises(AnnotationError, match=message):
        find_broken(dict(WHOLE, categories=categories))


@pytest.mark.parametrize('annotations', [None, 5, {}])
def test_annotations_that_are_no_list(annotations):
    with pytest.raises(AnnotationError, match='its annotations are .*, and not a list'):
        find_broken(dict(WHOLE, annotations=annotations))


def test_entries_that_are_no_objects():
    content = copy.deepcopy(WHOLE)
    content['annotations'].append(None)
    content['images'].append('three.jpg')
    reasons = [broken.reason for broken in find_broken(content)]
    assert reasons == ["image 'three.jpg' is no object", 'annotation number 3 is no object']
    assert find_broken(without(content, find_broken(content))) == []


@pytest.mark.parametrize('content', [dict(annotations=[]), dict(WHOLE, images={}), [1, 2], 'text', None])
def test_another_format(content):
    with pytest.raises(AnnotationError, match='no list of images, as COCO format has'):
        find_broken(content)
    with pytest.raises(AnnotationError, match='no list of categories'):
        find_broken(dict(images=[]))


def test_ids_that_are_none():
    (broken,) = find_broken(changed(0, id=[1], image_id={}, category_id=[]))
    assert (
        'annotation [1] of image {} (None): there is no such image, there is no category []' in broken.reason
    )


# ---- in a config ----------------------------------------------------------------------------------------


@pytest.fixture
def cfg(tmp_path):
    """The demo detector's config on two files of annotations; masks are not read."""
    (tmp_path / 'data' / 'images').mkdir(parents=True)
    for name in ('train', 'val'):
        (tmp_path / 'data' / f'{name}.json').write_text(json.dumps(WHOLE))
    cfg = load_config(CONFIGS[DETECTOR], work_dir=tmp_path / 'w')
    for loader in LOADERS:
        cfg[loader].dataset.data_root = str(tmp_path / 'data')
        cfg[loader].dataset.metainfo = dict(classes=('cat',))
    for name in ('one.jpg', 'two.jpg'):
        (tmp_path / 'data' / 'images' / name).touch()
    return cfg


LOADERS = ('train_dataloader', 'val_dataloader')


def write(cfg, name, content):
    (path := cfg_path(cfg, name)).write_text(json.dumps(content))
    return path


def cfg_path(cfg, name):
    return Path(cfg.train_dataloader.dataset.data_root, f'{name}.json')


@pytest.mark.parametrize('name', ['train', 'val'])
def test_a_file_that_is_cut_off(cfg, name):
    path = cfg_path(cfg, name)
    path.write_text(path.read_text()[:300])
    with pytest.raises(AnnotationError, match=rf'annotation file {path} cannot be read: .*line 1 column'):
        checks.check_annotations(cfg, LOADERS, skip=99)


def test_a_file_of_bytes(cfg):
    cfg_path(cfg, 'train').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(AnnotationError, match='train.json cannot be read'):
        checks.check_annotations(cfg, LOADERS)


def test_broken_ones_are_left_out_of_a_copy(cfg, tmp_path):
    content = changed(0, bbox=[1, 2, -3, 4])
    path = write(cfg, 'train', content)
    with pytest.raises(AnnotationError, match=rf'in {path}, annotation 10 of image 1 \(one.jpg\): its bbox'):
        checks.check_annotations(cfg, LOADERS)
    checks.check_annotations(cfg, LOADERS, skip=1)
    (copied,) = (tmp_path / 'w' / 'annotations').iterdir()
    assert cfg.train_dataloader.dataset.ann_file == str(copied)
    assert [a['id'] for a in json.loads(copied.read_text())['annotations']] == [11, 12]
    assert json.loads(path.read_text()) == content
    assert cfg.val_dataloader.dataset.ann_file == 'val.json'


def test_files_of_the_same_name(cfg, tmp_path):
    datasets = []
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'train.json').write_text(json.dumps(changed(0 if name == 'a' else 1, bbox=None)))
        datasets.append({**cfg.train_dataloader.dataset, 'data_root': str(tmp_path / name)})
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=datasets)
    checks.check_annotations(cfg, ('train_dataloader',), skip=1)
    kept = [
        json.loads(Path(d.ann_file).read_text())['annotations'] for d in cfg.train_dataloader.dataset.datasets
    ]
    assert [[annotation['id'] for annotation in one] for one in kept] == [[11, 12], [10, 12]]


@pytest.mark.parametrize('kind', ['CocoPanopticDataset', 'WFLWDataset', 'COCOCaption'])
def test_other_data_sets_have_their_own_rules(cfg, kind):
    write(cfg, 'train', dict(annotations=[dict(caption='a cat')]))
    cfg.train_dataloader.dataset.type = kind
    checks.check_annotations(cfg, LOADERS)
    cfg_path(cfg, 'train').write_text('{')
    with pytest.raises(AnnotationError, match='cannot be read'):
        checks.check_annotations(cfg, LOADERS)


def test_more_than_tolerated(cfg):
    content = changed(0, bbox=None)
    content['annotations'][1]['category_id'] = 4
    path = write(cfg, 'train', content)
    with pytest.raises(AnnotationError, match=r'it has no bbox \(and 1 more\); skip_corrupt is 1'):
        checks.check_annotations(cfg, LOADERS, skip=1)
    assert json.loads(path.read_text()) == content


def test_validation_data_is_never_cut(cfg):
    path = write(cfg, 'val', changed(0, bbox=None))
    with pytest.raises(AnnotationError, match=rf'in {path}, annotation 10'):
        checks.check_annotations(cfg, LOADERS, skip=99)


def test_areas_count_where_they_are_read(cfg):
    write(cfg, 'train', changed(0, area=None))
    with pytest.raises(AnnotationError, match='it has no area'):
        checks.check_annotations(cfg, LOADERS)
    cfg.default_scope = 'mmpose'  # which needs them in its metric alone
    checks.check_annotations(cfg, ('train_dataloader',))


def test_nothing_to_train_on(cfg):
    path = write(cfg, 'train', dict(WHOLE, annotations=[]))
    with pytest.raises(AnnotationError, match=f'{path} has no annotations to train on'):
        checks.check_annotations(cfg, LOADERS)
    content = copy.deepcopy(WHOLE)
    for annotation in content['annotations']:
        annotation['bbox'] = None
    write(cfg, 'train', content)
    with pytest.raises(AnnotationError, match='has no annotations to train on'):
        checks.check_annotations(cfg, LOADERS, skip=3)
    cfg.train_dataloader.dataset.filter_cfg = None  # then images without objects are trained on
    checks.check_annotations(cfg, LOADERS, skip=3)


def test_masks_count_where_they_are_read(cfg):
    write(cfg, 'train', changed(0, segmentation=[[1, 2]]))
    checks.check_annotations(cfg, LOADERS)
    cfg.train_dataloader.dataset.pipeline[1].with_mask = True
    with pytest.raises(AnnotationError, match='a polygon of its segmentation'):
        checks.check_annotations(cfg, LOADERS)


def test_lists_of_classes(tmp_path):
    pytest.importorskip('mmpretrain', reason='the config is of mmpretrain (extra mm)')
    cfg = load_config(CONFIGS['se-r18_digits'], work_dir=tmp_path / 'w')
    (tmp_path / 'train.txt').write_text('a b.png 0\nc.png 3\n')
    cfg.train_dataloader.dataset.update(data_root=str(tmp_path), ann_file='train.txt')
    checks.check_annotations(cfg, ('train_dataloader',))
    (tmp_path / 'train.txt').write_text('a.png 0\nb.png\n')
    with pytest.raises(AnnotationError, match=r"line 2 of .*train.txt is not a name and the number.*'b.png'"):
        checks.check_annotations(cfg, ('train_dataloader',))


# ---- image files ----------------------------------------------------------------------------------------


def encoded(kind, **options):
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    Image.fromarray(noise).save(stream, kind, **options)
    return stream.getvalue()


def with_thumbnail():
    """A JPEG with a whole small JPEG among its headers, as cameras write it."""
    small, large = encoded('JPEG', quality=5), encoded('JPEG')
    segment = b'Exif\0\0' + small
    return large[:2] + b'\xff\xe1' + (len(segment) + 2).to_bytes(2, 'big') + segment + large[2:]


IMAGES = dict(
    jpeg=encoded('JPEG'),
    progressive=encoded('JPEG', progressive=True),
    thumbnail=with_thumbnail(),
    trailer=encoded('JPEG') + b'\0' * 100_000,
    png=encoded('PNG'),
)


@pytest.mark.parametrize('name', IMAGES)
def test_image_files(tmp_path, name):
    path = tmp_path / 'x'
    content = IMAGES[name]
    path.write_bytes(content)
    assert why_broken(path) is None
    end = content.rindex(b'\xff\xd9') if name != 'png' else content.rindex(b'IEND')
    for length in (end, end // 2 + len(content) // 4, end // 2, 40):
        path.write_bytes(content[: min(length, end)])
        assert why_broken(path) == ('the PNG is cut off' if name == 'png' else 'the JPEG is cut off')
    path.write_bytes(b'')
    assert why_broken(path) == 'the file is empty'


def test_demo_images_are_whole(folder):
    paths = [p for p in (folder / 'data' / 'demo').rglob('*') if p.suffix in ('.png', '.jpg', '.jpeg')]
    assert len(paths) > 10
    assert not any(why_broken(path) for path in paths)
