"""The demo data: what it promises, read back with pycocotools."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('sklearn', reason='the demo data needs scikit-learn (extra demo)')
pytest.importorskip('skimage', reason='the demo data needs scikit-image (extra demo)')
coco_module = pytest.importorskip('pycocotools.coco', reason='the annotations are read back with pycocotools')
cocoeval_module = pytest.importorskip('pycocotools.cocoeval')

from PIL import Image, ImageFilter  # noqa: E402

from inimg_mm.datasets.demo import folder as demo_folder  # noqa: E402
from inimg_mm.datasets.demo import making as demo  # noqa: E402
from inimg_mm.datasets.demo import sources as demo_sources  # noqa: E402

COUNTS = {'num_train': 24, 'num_val': 12, 'num_class_train': 3, 'num_class_val': 2}
TINY = {'num_train': 1, 'num_val': 1, 'num_class_train': 0, 'num_class_val': 0, 'progress': False}
TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'make_demo_data.py'


@pytest.fixture(scope='session')
def root(tmp_path_factory):
    return demo.make_demo_data(tmp_path_factory.mktemp('demo') / 'set', **COUNTS, progress=False)


@pytest.fixture(scope='session', params=['train', 'val'])
def split(request):
    return request.param


@pytest.fixture(scope='session')
def coco(root, split):
    return coco_module.COCO(root / f'{split}.json')


@pytest.fixture
def few_scans(monkeypatch):
    """Make loading quick where the pictures do not matter."""
    scans = [of_class[:1] for of_class in demo_sources.load_scans('val')]
    monkeypatch.setattr(demo, 'load_scans', lambda split: scans)


def read_files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob('*') if path.is_file()}


def test_same_seed_same_bytes(root, tmp_path):
    again = demo.make_demo_data(tmp_path / 'again', **COUNTS, progress=False)
    assert read_files(again) == read_files(root)


def test_other_seed_other_bytes(root, tmp_path):
    other = demo.make_demo_data(tmp_path / 'other', **TINY, seed=1)
    for name in ('images/train_00001.jpg', 'images/val_00001.jpg', 'train.json', 'val.json'):
        assert (other / name).read_bytes() != (root / name).read_bytes()


def test_a_picture_does_not_depend_on_the_others(root, tmp_path):
    fewer = demo.make_demo_data(tmp_path / 'fewer', **dict(TINY, num_val=2))
    for name in ('images/train_00001.jpg', 'images/val_00002.jpg'):
        assert (fewer / name).read_bytes() == (root / name).read_bytes()


def test_layout(root):
    assert {path.name for path in root.iterdir()} == demo_folder.ENTRIES
    assert sorted(path.name for path in root.parent.iterdir()) == ['set']
    for split in ('train', 'val'):
        images = json.loads((root / f'{split}.json').read_text())['images']
        assert [image['file_name'] for image in images] == [
            f'{split}_{number:05d}.jpg' for number in range(1, COUNTS[f'num_{split}'] + 1)
        ]
        for image in images:
            with Image.open(root / 'images' / image['file_name']) as picture:
                assert (picture.mode, picture.size) == ('RGB', (image['width'], image['height']))
        folders = {path.name: list(path.iterdir()) for path in (root / 'classification' / split).iterdir()}
        assert set(folders) == set(demo.CLASSES)
        assert {len(files) for files in folders.values()} == {COUNTS[f'num_class_{split}']}
        for files in folders.values():
            with Image.open(files[0]) as picture:
                assert (picture.mode, picture.size) == ('RGB', (64, 64))
        assert (root / 'preview' / f'{split}.png').is_file()


def test_categories(coco):
    categories = coco.loadCats(coco.getCatIds())
    assert [category['name'] for category in categories] == list(demo.CLASSES)
    assert all(category['keypoints'] == list(demo.KEYPOINTS) for category in categories)
    ends = {end for category in categories for pair in category['skeleton'] for end in pair}
    assert ends == {1, 2, 3, 4, 5}


def test_boxes_and_areas_are_those_of_the_masks(coco):
    assert coco.anns
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation).astype(bool)
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert annotation['bbox'] == box
        assert annotation['area'] == mask.sum()
        assert annotation['visible_share'] >= 0.75


def test_masks_of_a_picture_are_disjoint(coco):
    for image_id in coco.imgs:
        assert 1 <= len(coco.imgToAnns[image_id]) <= 5
        assert (
            sum(coco.annToMask(annotation).astype(int) for annotation in coco.imgToAnns[image_id]).max() == 1
        )


def test_keypoints_lie_on_the_ink(coco):
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        left, top, width, height = annotation['bbox']
        points = np.reshape(annotation['keypoints'], (-1, 3))
        assert len(points) == len(demo.KEYPOINTS)
        assert annotation['num_keypoints'] == (points[:, 2] > 0).sum()
        for x, y, visibility in points:
            if visibility == 0:
                assert x == y == 0
                continue
            assert left <= x <= left + width
            assert top <= y <= top + height
            assert mask[int(y), int(x)] == (visibility == 2)


def test_some_points_are_hidden_and_most_are_not(root):
    annotations = json.loads((root / 'train.json').read_text())['annotations']
    visibility = np.concatenate([annotation['keypoints'][2::3] for annotation in annotations])
    assert 0 < (visibility < 2).mean() < 0.3


def test_ink_stands_out(root, coco):
    for annotation in coco.anns.values():
        with Image.open(root / 'images' / coco.imgs[annotation['image_id']]['file_name']) as picture:
            pixels = np.asarray(picture.convert('L')).astype(int)
        image = Image.fromarray(coco.annToMask(annotation) * 255)
        inside = np.asarray(image.filter(ImageFilter.MinFilter(3))) > 0
        around = (np.asarray(image.filter(ImageFilter.MaxFilter(9))) > 0) & (
            np.asarray(image.filter(ImageFilter.MaxFilter(3))) == 0
        )
        if inside.any():
            assert np.median(abs(pixels[around] - np.median(pixels[inside]))) > 30  # of 255


@pytest.mark.parametrize('kind', ['bbox', 'segm', 'keypoints'])
def test_truth_as_prediction_scores_one(coco, kind, capsys):
    fields = {'bbox': 'bbox', 'segm': 'segmentation', 'keypoints': 'keypoints'}
    predictions = []
    for annotation in coco.anns.values():
        result = {name: annotation[name] for name in ('image_id', 'category_id')}
        value = annotation[fields[kind]] if kind != 'segm' else coco.annToRLE(annotation)
        predictions.append(dict(result, score=1.0, **{fields[kind]: value}))
    evaluation = cocoeval_module.COCOeval(coco, coco.loadRes(predictions), kind)
    evaluation.params.kpt_oks_sigmas = np.array(demo.KEYPOINT_SIGMAS)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_splits_share_nothing(root):
    used = {}
    for split in ('train', 'val'):
        content = json.loads((root / f'{split}.json').read_text())
        photos = {image['photo'] for image in content['images']}
        photos.update(name for image in content['images'] for name in image['occluder_photos'])
        used[split] = photos, {annotation['scan'] for annotation in content['annotations']}
    assert not used['train'][0] & used['val'][0]
    assert not used['train'][1] & used['val'][1]
    manifest = json.loads((root / 'manifest.json').read_text())
    assert not set(manifest['photos']['train']) & set(manifest['photos']['val'])
    assert np.sum([manifest['scans']['train'], manifest['scans']['val']]) == 1797


def test_manifest(root):
    manifest = json.loads((root / 'manifest.json').read_text())
    assert manifest['seed'] == 0
    assert manifest['counts'] == COUNTS
    assert set(manifest['packages']) == {'numpy', 'pillow', 'scikit-image', 'scikit-learn'}
    assert manifest['sha256']['train.json'] == demo_folder.hash_file(root / 'train.json')


@pytest.mark.parametrize('fill', [0, 1, None])
def test_encode_mask_is_read_back(fill):
    mask = np.random.default_rng(0).random((5, 7)) < 0.5 if fill is None else np.full((5, 7), bool(fill))
    from pycocotools import mask as mask_utils

    encoded = demo.encode_mask(mask)
    assert (mask_utils.decode(mask_utils.frPyObjects(encoded, 5, 7)) == mask).all()


@pytest.mark.parametrize('value', [-1, 1.5, '3', None, True])
@pytest.mark.parametrize('name', [*COUNTS, 'seed'])
def test_bad_arguments(name, value, tmp_path):
    with pytest.raises(ValueError, match=f'{name} must be an integer of at least 0'):
        demo.make_demo_data(tmp_path / 'set', **{name: value})
    assert not any(tmp_path.iterdir())


class TestFolder:
    """What is on the disk already is kept, and nothing is left half made."""

    def test_second_run_does_nothing(self, root, monkeypatch):
        monkeypatch.delattr(demo, 'load_scans')
        before = {path: path.stat().st_mtime_ns for path in root.rglob('*')}
        demo.make_demo_data(root, **COUNTS)
        assert {path: path.stat().st_mtime_ns for path in root.rglob('*')} == before

    @pytest.mark.parametrize('force', [False, True])
    @pytest.mark.parametrize('kind', ['folder', 'other manifest', 'file'])
    def test_foreign_root_is_refused_untouched(self, kind, force, tmp_path):
        root = tmp_path / 'set'
        if kind == 'file':
            root.write_text('mine')
        else:
            root.mkdir()
            (root / 'manifest.json' if kind == 'other manifest' else root / 'mine.txt').write_text('[]')
        with pytest.raises(FileExistsError, match='is not a demo set'):
            demo.make_demo_data(root, **TINY, force=force)
        assert [path.name for path in tmp_path.iterdir()] == ['set']
        assert kind == 'file' or len(list(root.iterdir())) == 1

    def test_empty_folder_is_taken(self, few_scans, tmp_path):
        demo.make_demo_data(tmp_path, **TINY)
        assert (tmp_path / 'manifest.json').is_file()

    def test_other_settings_need_force(self, few_scans, tmp_path):
        root = demo.make_demo_data(tmp_path / 'set', **TINY)
        with pytest.raises(FileExistsError, match=r'seed 0, not 5.*force'):
            demo.make_demo_data(root, **TINY, seed=5)
        demo.make_demo_data(root, **TINY, seed=5, force=True)
        assert json.loads((root / 'manifest.json').read_text())['seed'] == 5
        assert [path.name for path in tmp_path.iterdir()] == ['set']

    def test_force_does_not_remove_what_others_put_there(self, few_scans, tmp_path):
        root = demo.make_demo_data(tmp_path / 'set', **TINY)
        (root / 'notes.txt').write_text('mine')
        with pytest.raises(FileExistsError, match=r'also holds notes\.txt'):
            demo.make_demo_data(root, **TINY, force=True)
        assert (root / 'notes.txt').read_text() == 'mine'

    @pytest.mark.parametrize('victim', ['train.json', 'images/val_00001.jpg'])
    def test_damage_is_noticed(self, few_scans, victim, tmp_path):
        root = demo.make_demo_data(tmp_path / 'set', **TINY)
        (root / victim).unlink()
        with pytest.raises(FileExistsError, match='damaged'):
            demo.make_demo_data(root, **TINY)
        demo.make_demo_data(root, **TINY, force=True)
        assert (root / victim).is_file()

    @pytest.mark.parametrize('before', [False, True])
    def test_interrupted_run_leaves_nothing_half_made(self, before, few_scans, tmp_path, monkeypatch):
        root = tmp_path / 'set'
        if before:
            demo.make_demo_data(root, **TINY)
        files = read_files(root)

        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(demo, 'compose_digit', interrupt)
        with pytest.raises(KeyboardInterrupt):
            demo.make_demo_data(root, **dict(TINY, num_class_train=1), force=True)
        assert [path.name for path in tmp_path.iterdir()] == (['set'] if before else [])
        assert read_files(root) == files

    def test_leftover_of_a_killed_run_is_removed(self, few_scans, tmp_path, capsys):
        (tmp_path / '.set.partial' / 'images').mkdir(parents=True)
        demo.make_demo_data(tmp_path / 'set', **TINY)
        assert 'interrupted' in capsys.readouterr().out
        assert [path.name for path in tmp_path.iterdir()] == ['set']

    def test_foreign_leftover_is_kept(self, few_scans, tmp_path):
        (tmp_path / '.set.partial' / 'mine').mkdir(parents=True)
        with pytest.raises(FileExistsError, match='in the way'):
            demo.make_demo_data(tmp_path / 'set', **TINY)
        assert (tmp_path / '.set.partial' / 'mine').is_dir()

    @pytest.mark.skipif(demo_folder.fcntl is None, reason='no file locks here')
    def test_two_runs_at_once_are_noticed(self, few_scans, tmp_path):
        root = tmp_path / 'set'
        with demo_folder.replaced_folder(root), pytest.raises(FileExistsError, match='another run'):
            demo.make_demo_data(root, **TINY)


def test_progress_without_rich(few_scans, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'rich.progress', None)
    demo.make_demo_data(tmp_path / 'set', **dict(TINY, progress=True))
    assert 'train: scenes 1/1' in capsys.readouterr().out


def test_missing_package_is_named(tmp_path, monkeypatch):
    demo.load_scans.cache_clear()
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    with pytest.raises(ModuleNotFoundError, match=r'inimg-mm\[demo\]'):
        demo.make_demo_data(tmp_path / 'set', **TINY)


def test_tool(root, tmp_path):
    copy = tmp_path / 'set'
    shutil.copytree(root, copy)
    options = [f'--{name.replace("_", "-")}={value}' for name, value in COUNTS.items()]
    command = [sys.executable, str(TOOL), str(copy)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert str(copy) in done.stdout
    failed = subprocess.run([*command, '--num-val=-1'], capture_output=True, text=True, cwd=tmp_path)
    assert failed.returncode != 0
    assert 'error: num_val must be' in failed.stderr
    assert 'Traceback' not in failed.stderr


def test_tool_where_nothing_can_be_written(tmp_path, monkeypatch, capsys):
    (tmp_path / 'file').touch()
    monkeypatch.setattr(sys, 'argv', ['make_demo_data.py', str(tmp_path / 'file' / 'set')])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name='__main__')
    assert str(stop.value).startswith(f'error: cannot make the demo data in {tmp_path / "file" / "set"}: ')
