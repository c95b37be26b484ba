"""The real pixels of the demo data: scanned digits and photos that installed packages carry.

Nothing is downloaded. The digits are scikit-learn's 1,797 scans of 8x8 pixels, the photos lie in the wheels
of scikit-image and scikit-learn. Training and validation share neither a scan nor a photo, whatever the seed.
"""

import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image, ImageFilter

CLASSES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
KEYPOINTS = ('top', 'bottom', 'left', 'right', 'centre')
SPLITS = ('train', 'val')
PHOTOS = {
    'train': (
        ('skimage', 'data/astronaut.png'),
        ('skimage', 'data/brick.png'),
        ('skimage', 'data/camera.png'),
        ('skimage', 'data/coffee.png'),
        ('skimage', 'data/grass.png'),
        ('skimage', 'data/hubble_deep_field.jpg'),
        ('skimage', 'data/ihc.png'),
        ('skimage', 'data/moon.png'),
        ('skimage', 'data/motorcycle_left.png'),
        ('skimage', 'data/rocket.jpg'),
        ('sklearn', 'datasets/images/flower.jpg'),
    ),
    'val': (
        ('skimage', 'data/chelsea.png'),
        ('skimage', 'data/gravel.png'),
        ('skimage', 'data/retina.jpg'),
        ('sklearn', 'datasets/images/china.jpg'),
    ),
}

VAL_EVERY = 5  # every fifth scan of a class is kept for validation
CELL_PAD = 2  # empty cells around the 8x8 scan, so that interpolation ends at zero
INK_LEVEL = 0.45  # interpolated intensity (0 to 1) from which a point counts as ink
UPRIGHT_SCALE = 10  # pixels a cell of the upright picture in which keypoints are found


@dataclass(frozen=True)
class Photo:
    """A photo and its name.

    Attributes:
        name: File name in the package it comes from.
        image: The photo, RGB.
    """

    name: str
    image: Image.Image


@dataclass(frozen=True)
class Scan:
    """One scanned digit. Coordinates are in cells of ``cells``, (0, 0) being the top left corner.

    Attributes:
        index: Position in ``sklearn.datasets.load_digits()``.
        digit: 0 to 9.
        cells: Intensities 0 to 1, float32, (12, 12): the 8x8 scan and an empty border.
        box: Tight box of the ink: left, top, right, bottom.
        keypoints: x and y of the points named in ``KEYPOINTS``, (5, 2).
    """

    index: int
    digit: int
    cells: np.ndarray
    box: tuple[float, float, float, float]
    keypoints: np.ndarray


@functools.cache
def load_scans(split: str) -> list[list[Scan]]:
    """Load the digit scans of one split.

    Args:
        split: 'train' or 'val'.

    Returns:
        Ten lists of scans, one a digit.

    Raises:
        ModuleNotFoundError: If scikit-learn is missing.
    """
    digits = _import('sklearn.datasets').load_digits()
    scans: list[list[Scan]] = []
    for digit in range(len(CLASSES)):
        indices = np.flatnonzero(digits.target == digit)
        for_val = np.arange(len(indices)) % VAL_EVERY == VAL_EVERY - 1
        kept = indices[for_val] if split == 'val' else indices[~for_val]
        scans.append([_make_scan(int(index), digit, digits.images[index]) for index in kept])
    return scans


def load_photos(split: str) -> list[Photo]:
    """Load the photos of one split, as RGB.

    Args:
        split: 'train' or 'val'.

    Raises:
        ModuleNotFoundError: If scikit-image or scikit-learn is missing.
        FileNotFoundError: If the installed version does not carry one of the photos.
    """
    photos = []
    for package, name in PHOTOS[split]:
        path = Path(str(_import(package).__file__)).parent / name
        if not path.is_file():
            raise FileNotFoundError(f'the installed {package} does not carry the photo {name} ({path})')
        with Image.open(path) as image:
            photos.append(Photo(path.name, image.convert('RGB')))
    return photos


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'the demo data needs {error.name}: pip install "inimg-mm[demo]"'
        ) from error


def _make_scan(index: int, digit: int, image: np.ndarray) -> Scan:
    cells = np.pad(image.astype(np.float32) / 16, CELL_PAD)
    side = cells.shape[0] * UPRIGHT_SCALE
    step = 1 / UPRIGHT_SCALE
    upright = Image.fromarray(cells).transform(
        (side, side), Image.Transform.AFFINE, (step, 0, 0, 0, step, 0), Image.Resampling.BICUBIC
    )
    ink = np.asarray(upright) > INK_LEVEL
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    box = (columns[0] * step, rows[0] * step, (columns[-1] + 1) * step, (rows[-1] + 1) * step)
    return Scan(index, digit, cells, box, (_find_keypoints(ink) + 0.5) * step)


def _find_keypoints(ink: np.ndarray) -> np.ndarray:
    """Pick the named points on the ink of an upright digit.

    The extreme points are sought on slightly thinned ink: they lie inside the stroke, not on its edge.
    The centre is the ink nearest to the centroid; sought a little to its left, so that in a zero it is always
    on the left stroke.

    Args:
        ink: Ink of an upright digit, bool, (H, W).

    Returns:
        Column and row of each of ``KEYPOINTS``, float, (5, 2).
    """
    thinned = np.asarray(Image.fromarray(ink).convert('L').filter(ImageFilter.MinFilter(5))) > 0
    rows, columns = np.nonzero(thinned if thinned.any() else ink)

    def middle(chosen: np.ndarray) -> tuple[int, int]:
        order = np.flatnonzero(chosen)
        order = order[np.lexsort((rows[order], columns[order]))]
        pick = order[len(order) // 2]
        return columns[pick], rows[pick]

    aim = columns.mean() - 0.1 * np.ptp(columns)
    distance = (rows - rows.mean()) ** 2 + (columns - aim) ** 2
    points = [
        middle(rows == rows.min()),
        middle(rows == rows.max()),
        middle(columns == columns.min()),
        middle(columns == columns.max()),
        middle(distance == distance.min()),
    ]
    return np.array(points, dtype=np.float64)
