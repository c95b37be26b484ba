"""tools/infer.py: which images are meant, how they are read, and what their classes are called."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

pytest.importorskip('mmdet', reason='the tools launch the hosts (extra mm)')
pytest.importorskip('mmpretrain', reason='the tools launch the hosts (extra mm)')

from helpers.tooling import CONFIGS
from inimg_mm import launch
from inimg_mm.checkpoints.reading import Opened
from inimg_mm.data_files.image_files import as_picture
from inimg_mm.data_files.picture_names import picture_paths
from inimg_mm.errors import UsageError
from inimg_mm.hosts.dataset_meta import LOADERS, dataset_meta
from inimg_mm.inference import images, infer

CLASSIFIER = CONFIGS['se-r18_digits']
DETECTOR = CONFIGS['faster-rcnn_cmpese-r18_fpn_digits']
SEGMENTER = CONFIGS['mask-rcnn_ini-r18_fpn_digits']
KEYPOINTS = CONFIGS['td-hm_se-r18_digits-96x96']
DIGITS = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')


def written(folder):
    return json.loads((folder / 'out' / 'predictions.json').read_text())


# ---- names ----------------------------------------------------------------------------------------------


def names(config, content=None, **options):
    return dataset_meta(launch.load_config(config, options), Opened('', content or {}).meta)['classes']


def test_names_are_the_checkpoints():
    ours = tuple('abcdefghij')
    assert names(DETECTOR, {'meta': {'dataset_meta': {'CLASSES': ours}}}) == ours
    assert names(DETECTOR, {'meta': {'CLASSES': ours}}) == ours  # as older hosts wrote them
    assert names(CLASSIFIER, {'meta': {'dataset_meta': {'classes': list(ours)}}}) == ours


def test_names_are_the_configs():
    assert names(DETECTOR) == DIGITS
    assert names(DETECTOR, {'meta': {'dataset_meta': {'classes': ('too', 'few')}}}) == DIGITS


def test_names_are_not_cocos_by_accident():
    cfg = launch.load_config(DETECTOR)
    for loader in LOADERS:
        del cfg[loader].dataset.metainfo
    assert dataset_meta(cfg, {})['classes'] == tuple(f'class {index}' for index in range(10))
    cfg.model.roi_head.bbox_head.num_classes = 80
    assert dataset_meta(cfg, {})['classes'][:2] == ('person', 'bicycle')


def test_own_data_names_classes(folder):
    cfg = launch.load_config(DETECTOR, data_root=folder / 'data' / 'demo', classes=['two', 'six'])
    assert dataset_meta(cfg, {})['classes'] == ('two', 'six')


def test_keypoints_have_names():
    pytest.importorskip('mmpose', reason='keypoints need mmpose (extra pose)')
    cfg = launch.load_config(KEYPOINTS)
    meta = dataset_meta(cfg, {})
    assert meta['keypoint_id2name'][4] == 'centre'
    assert dataset_meta(cfg, {'dataset_meta': {**meta, 'dataset_name': 'x'}})['dataset_name'] == 'x'
    for loader in LOADERS:
        del cfg[loader].dataset.metainfo
    assert dataset_meta(cfg, {})['dataset_name'] == 'coco'  # that of the type


# ---- images ---------------------------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path):
    for name in ('a/1.jpg', 'a/notes.txt', 'a/sub/2.PNG', 'b/1.jpg', 'b/10.tif', 'out/1.jpg', 'empty/x.txt'):
        path = tmp_path / 'album' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / 'album'


def test_files_folders_and_patterns(album, monkeypatch):
    monkeypatch.chdir(album)

    def found(*sources):
        return [str(path.relative_to(album)) for path in images.find_images(sources, album / 'out')]

    assert found('b/1.jpg', 'a') == ['b/1.jpg', 'a/1.jpg', 'a/sub/2.PNG']
    assert found('a/*') == ['a/1.jpg']
    assert found('**/1.jpg') == ['a/1.jpg', 'b/1.jpg']
    assert found('.') == ['a/1.jpg', 'a/sub/2.PNG', 'b/1.jpg', 'b/10.tif']  # not the results of before
    assert found('a/notes.txt', 'out/1.jpg', 'a/../a/notes.txt') == ['a/notes.txt', 'out/1.jpg']  # named
    for source, message in (
        ('x.jpg', 'no image or folder x.jpg'),
        ('empty', r'folder empty has no image \(.bmp'),
        ('*.jpg', r"no image matches '\*.jpg'"),
        ('out', f'all images of out are in {album / "out"}, where the pictures go'),
    ):
        with pytest.raises(UsageError, match=message):
            images.find_images([source], album / 'out')


def test_pictures_of_one_name_do_not_meet(album):
    found = [album / name for name in ('a/1.jpg', 'b/1.jpg', 'b/10.tif')]
    assert picture_paths(found, Path('/out')) == [
        Path(f'/out/{p}') for p in ('a/1.jpg', 'b/1.jpg', 'b/10.tif.png')
    ]
    assert picture_paths(found[:1], Path('/out')) == [Path('/out/1.jpg')]
    with pytest.raises(UsageError, match='would overwrite its image'):
        picture_paths(found, album)


@pytest.mark.parametrize(
    ('shape', 'kind'), [((2, 3), np.uint8), ((2, 3, 1), np.uint16), ((2, 3, 3), np.float32)]
)
def test_pixels_become_a_picture(shape, kind):
    pixels = np.full(shape, 257 * 100 if kind == np.uint16 else 100, kind)
    assert (as_picture(pixels) == np.full((2, 3, 3), 100, np.uint8)).all()


def test_colours_keep_their_order():
    assert as_picture(np.array([[[1, 2, 3, 255]]], np.uint8)).tolist() == [[[3, 2, 1]]]


def test_other_kinds_of_images(untrained, photo, infer_tool, tmp_path):
    """Turned as EXIF says, without transparency, of 16 bits: the same image to the model."""
    picture, shown = Picture.open(photo), [photo]
    for name, image, options in (
        ('rgba.png', picture.convert('RGBA'), {}),
        ('turned.png', picture.transpose(Picture.Transpose.ROTATE_90), dict(exif=_orientation(6))),
        ('grey.png', picture.convert('L'), {}),
    ):
        shown.append(photo.with_name(name))
        image.save(shown[-1], **options)
    with Picture.open(shown[1]) as transparent:
        transparent.putalpha(40)
        transparent.save(shown[1])
    import cv2

    shown.append(photo.with_name('deep.png'))
    cv2.imwrite(str(shown[-1]), cv2.imread(str(photo)).astype(np.uint16) * 257)
    assert infer_tool(CLASSIFIER, untrained(CLASSIFIER), *shown) == 0
    found = {Path(image['path']).stem: image for image in written(tmp_path)['images']}
    assert all((image['width'], image['height']) == (90, 60) for image in found.values())
    for name in ('rgba', 'turned', 'deep'):
        assert found[name]['scores'] == found['one']['scores']
    assert found['grey']['scores'] != found['one']['scores']


def _orientation(value):
    exif = Picture.Exif()
    exif[0x0112] = value
    return exif


def test_the_configs_pipeline_is_used(untrained, photo, tmp_path, monkeypatch):
    from mmpretrain.models import ImageClassifier

    turned = photo.with_name('turned.png')
    Picture.open(photo).save(turned, exif=_orientation(6))
    sizes, forward = [], ImageClassifier.forward

    def observed(self, inputs, *rest, **options):
        sizes.append(inputs.shape)
        return forward(self, inputs, *rest, **options)

    monkeypatch.setattr(ImageClassifier, 'forward', observed)
    steps = 'test_dataloader.dataset.pipeline'
    options = {f'{steps}.0.color_type': 'color_ignore_orientation', f'{steps}.1.scale': (40, 80)}
    cfg = launch.load_config(CLASSIFIER, options)
    done = infer(cfg, str(untrained(CLASSIFIER)), [turned], tmp_path / 'out', device='cpu')
    assert sizes == [(1, 3, 80, 40)]  # the scale is width and height
    (image,) = json.loads(done.predictions.read_text())['images']
    assert (image['width'], image['height']) == (90, 60)
    assert Picture.open(done.pictures[0]).width > Picture.open(done.pictures[0]).height


def test_damaged_images_do_not_stop_the_others(untrained, photo, infer_tool, tmp_path, capsys):
    content = photo.read_bytes()
    for name, part in (('cut.png', content[: len(content) // 2]), ('empty.png', b''), ('text.png', b'hello')):
        photo.with_name(name).write_bytes(part)
    assert infer_tool(CLASSIFIER, untrained(CLASSIFIER), photo.parent, '--batch-size', 2) == 1
    assert [image['path'] for image in written(tmp_path)['images']] == [str(photo)]
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    expected = {'cut': 'truncated', 'empty': 'is empty', 'text': 'no image'}
    for line, (name, reason) in zip(errors, expected.items(), strict=True):
        assert line.startswith(f'error: cannot read {photo.with_name(name)}.png: ')
        assert reason in line
    photo.unlink()
    assert infer_tool(CLASSIFIER, untrained(CLASSIFIER), photo.parent) == 1
