"""The demo data: sets for detection, instance segmentation, keypoints and classification, made on the spot.

Scanned digits lie on crops of photos, both from installed packages (``sources``), so that every part of
the package can be tried without a download::

    ROOT/train.json, ROOT/val.json        COCO format: boxes, masks (uncompressed RLE), keypoints
    ROOT/images/train_00001.jpg, …        192x192; ``file_name`` in the JSON is relative to this folder
    ROOT/classification/{train,val}/<class>/00001.png, …   64x64, one digit each
    ROOT/preview/{train,val}.png          the first 16 pictures with their annotations
    ROOT/manifest.json                    settings, versions, and hashes of the JSON files

Beside the COCO fields, an image has ``photo`` and ``occluder_photos``, and an annotation has ``scan`` (the
index in ``sklearn.datasets.load_digits()``) and ``visible_share``.
"""

import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from inimg_mm.errors import UsageError

from .folder import check_root, hash_file, replaced_folder
from .preview import GRID, draw_instances, save_contact_sheet
from .scene import SCENE_SIZE, Scene, compose_digit, compose_scene
from .sources import CLASSES, KEYPOINTS, PHOTOS, SPLITS, load_photos, load_scans

GENERATOR = 'inimg_mm.datasets.demo'  # stands in every manifest: another name would refuse existing sets
VERSION = 1  # raised whenever the same settings give other data
SKELETON = ((1, 5), (2, 5), (3, 5), (4, 5))  # 1-based, as in COCO
KEYPOINT_SIGMAS = (0.05,) * len(KEYPOINTS)  # for OKS
PACKAGES = ('numpy', 'pillow', 'scikit-image', 'scikit-learn')
JPEG_QUALITY = 95


def make_demo_data(
    root: str | Path,
    num_train: int = 1200,
    num_val: int = 200,
    num_class_train: int = 600,
    num_class_val: int = 60,
    seed: int = 0,
    force: bool = False,
    progress: bool = True,
) -> Path:
    """Make the demo data, or leave it alone where it is there already with the same settings.

    Everything is written to a hidden folder beside ``root``, which takes its name at the end: an interrupted
    run leaves no half set. Every picture has its own random state: same settings, same bytes.

    Args:
        root: The folder to make.
        num_train: Pictures in train.json.
        num_val: Pictures in val.json.
        num_class_train: Pictures a class in classification/train.
        num_class_val: Pictures a class in classification/val.
        seed: Not negative.
        force: Make the set anew even if it is there. What this function did not make is never removed.
        progress: Show progress.

    Returns:
        ``root`` as an absolute path.

    Raises:
        UsageError: If a count or the seed is not an integer of at least 0.
        FileExistsError: If ``root`` exists and is not a demo set, has other settings, or is damaged.
        ModuleNotFoundError: If scikit-learn or scikit-image is missing.
    """
    counts = {
        'num_train': num_train,
        'num_val': num_val,
        'num_class_train': num_class_train,
        'num_class_val': num_class_val,
    }
    for name, value in dict(counts, seed=seed).items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise UsageError(f'{name} must be an integer of at least 0, not {value!r}')
    root = Path(root).expanduser().resolve()
    settings = {'generator': GENERATOR, 'version': VERSION, 'seed': seed, 'counts': counts}
    if check_root(root, settings, force):
        return root

    scans = {split: load_scans(split) for split in SPLITS}
    photos = {split: load_photos(split) for split in SPLITS}
    with replaced_folder(root) as folder:
        for split in SPLITS:
            number = counts[f'num_{split}']
            scenes = (
                compose_scene(_generator(seed, split, 'scene', index), scans[split], photos[split])
                for index in range(number)
            )
            _write_coco_set(folder, split, _track(scenes, number, f'{split}: scenes', progress))
        for split in SPLITS:
            number = counts[f'num_class_{split}']
            jobs = ((digit, index) for digit in range(len(CLASSES)) for index in range(number))
            for digit, index in _track(jobs, number * len(CLASSES), f'{split}: single digits', progress):
                rng = _generator(seed, split, 'class', digit * 1_000_000 + index)
                path = folder / 'classification' / split / CLASSES[digit] / f'{index + 1:05d}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(compose_digit(rng, scans[split][digit], photos[split])).save(path)
        manifest = dict(
            settings,
            packages={name: importlib.metadata.version(name) for name in PACKAGES},
            photos={split: [Path(name).name for _, name in PHOTOS[split]] for split in SPLITS},
            scans={split: [len(of_class) for of_class in scans[split]] for split in SPLITS},
            sha256={f'{split}.json': hash_file(folder / f'{split}.json') for split in SPLITS},
        )
        (folder / 'manifest.json').write_text(json.dumps(manifest, indent=2) + '\n')
    return root


def encode_mask(mask: np.ndarray) -> dict:
    """Encode a mask as COCO's uncompressed run lengths.

    Args:
        mask: bool, (H, W).

    Returns:
        ``size``, [H, W], and ``counts``, runs of 0 and 1 in turn, column by column, starting with 0.
    """
    flat = mask.flatten(order='F')
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate(([0], ends, [flat.size]))).tolist()
    return {'size': list(mask.shape), 'counts': [0, *counts] if flat[0] else counts}


def _generator(seed: int, split: str, kind: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, SPLITS.index(split), ('scene', 'class').index(kind), index])


def _write_coco_set(folder: Path, split: str, scenes: Iterator[Scene]) -> None:
    images: list[dict] = []
    annotations: list[dict] = []
    drawn = []
    for folder_name in ('images', 'preview'):
        (folder / folder_name).mkdir(exist_ok=True)
    for image_id, scene in enumerate(scenes, start=1):
        name = f'{split}_{image_id:05d}.jpg'
        Image.fromarray(scene.pixels).save(folder / 'images' / name, quality=JPEG_QUALITY)
        images.append(
            {
                'id': image_id,
                'file_name': name,
                'width': SCENE_SIZE,
                'height': SCENE_SIZE,
                'photo': scene.photo,
                'occluder_photos': scene.occluder_photos,
            }
        )
        for instance in scene.instances:
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': image_id,
                    'category_id': instance.scan.digit + 1,
                    'bbox': list(instance.box),
                    'area': int(instance.mask.sum()),
                    'iscrowd': 0,
                    'segmentation': encode_mask(instance.mask),
                    'keypoints': _plain_numbers(instance.keypoints),
                    'num_keypoints': int((instance.keypoints[:, 2] > 0).sum()),
                    'scan': instance.scan.index,
                    'visible_share': round(float(instance.visible_share), 3),
                }
            )
        if image_id <= GRID * GRID:
            drawn.append(draw_instances(scene.pixels, scene.instances))
    categories = [
        {
            'id': digit + 1,
            'name': name,
            'supercategory': 'digit',
            'keypoints': list(KEYPOINTS),
            'skeleton': SKELETON,
        }
        for digit, name in enumerate(CLASSES)
    ]
    info = {'description': 'inimg_mm demo data: scanned digits on photos', 'version': str(VERSION)}
    content = {
        'info': info,
        'licenses': [],
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }
    (folder / f'{split}.json').write_text(json.dumps(content, separators=(',', ':')))
    save_contact_sheet(folder / 'preview' / f'{split}.png', drawn)


def _plain_numbers(keypoints: np.ndarray) -> list[int | float]:
    return [int(value) if value == int(value) else float(value) for value in keypoints.ravel()]


def _track(items: Iterator, total: int, text: str, progress: bool) -> Iterator:
    """Yield the items and show how far they are: a bar with rich, else a line every tenth of the way."""
    if not progress:
        yield from items
        return
    try:
        import rich.progress as rich_progress
    except ModuleNotFoundError:
        yield from _track_in_lines(items, total, text)
    else:
        yield from rich_progress.track(items, f'{text:20}', total=total)


def _track_in_lines(items: Iterator, total: int, text: str) -> Iterator:
    for done, item in enumerate(items, start=1):
        yield item
        if done == total or done % max(total // 10, 1) == 0:
            print(f'{text} {done}/{total}', flush=True)
