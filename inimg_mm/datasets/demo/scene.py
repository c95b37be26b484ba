"""Compose one picture of the demo data: digits, and things that hide parts of them, on a crop of a photo.

Coordinates are in pixels from the picture's top left corner, as in COCO boxes: the centre of the first
pixel is (0.5, 0.5).
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from .sources import INK_LEVEL, Photo, Scan

SCENE_SIZE = 192  # pixels
DIGIT_HEIGHTS = (32, 80)  # pixels, of the upright digit
MAX_ANGLE = 20  # degrees: a 6 stays a 6
COUNT_SHARES = (0.08, 0.2, 0.3, 0.24, 0.18)  # of scenes that try to hold 1, 2, 3, 4, 5 digits
OCCLUDED_SHARE = 1 / 3  # of scenes in which digits may be hidden in part
MIN_VISIBLE = 0.75  # share of its ink that every digit shows
MARGIN = 2  # empty pixels around the ink, also towards the picture's edge
MIN_CONTRAST = 0.3  # luminance between ink and nine tenths of what surrounds it
ATTEMPTS = 20

CLASS_SIZE = 64  # pixels, pictures of the classification set
CLASS_HEIGHTS = (34, 54)  # pixels, so that a turned digit still fits

LUMINANCE = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class PlacedDigit:
    """One digit in a picture.

    Attributes:
        scan: The scan it was made from.
        mask: Its visible ink, bool, (H, W).
        keypoints: x, y and visibility (2 visible, 1 hidden, 0 not labelled) of each of ``KEYPOINTS``, (5, 3).
        visible_share: Visible ink / all its ink.
    """

    scan: Scan
    mask: np.ndarray
    keypoints: np.ndarray
    visible_share: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Tight box of the visible ink: left, top, width, height."""
        return tight_box(self.mask)


@dataclass(frozen=True)
class Scene:
    """A picture with its digits.

    Attributes:
        pixels: uint8, (H, W, 3), RGB.
        instances: The digits, from back to front.
        photo: Name of the photo behind them.
        occluder_photos: Names of the photos that patches were cut from.
    """

    pixels: np.ndarray
    instances: list[PlacedDigit]
    photo: str
    occluder_photos: list[str]


@dataclass
class _Ink:
    """A digit rendered at its size and angle: opacity 0 to 1 and mask, (h, w), and keypoints, (5, 2)."""

    scan: Scan
    opacity: np.ndarray
    mask: np.ndarray
    keypoints: np.ndarray
    height: float
    left: int = 0
    top: int = 0

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the tight box of a bool mask, (H, W), that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def compose_scene(rng: np.random.Generator, scans: list[list[Scan]], photos: list[Photo]) -> Scene:
    """Compose a picture of 192x192 pixels with one to five digits.

    Every digit shows at least three quarters of its ink, and every digit in the picture is in ``instances``.

    Args:
        rng: Source of every choice.
        scans: Ten lists of scans, one a digit.
        photos: Photos for the background and for patches that hide parts.
    """
    photo, canvas = _background(rng, photos, SCENE_SIZE)
    occluded = rng.random() < OCCLUDED_SHARE
    inks: list[_Ink] = []
    visible: list[np.ndarray] = []
    for _ in range(1 + rng.choice(len(COUNT_SHARES), p=COUNT_SHARES)):
        placed = _place(rng, scans, inks, visible, occluded)
        if placed is None:
            break
        ink, mask = placed
        _draw(rng, canvas, ink)
        visible = [other & ~mask for other in visible] + [mask]
        inks.append(ink)
    occluder_photos = []
    if occluded:
        name = _hide_part(rng, canvas, photos, inks, visible, int(rng.integers(len(inks))))
        occluder_photos += [name] if name else []
    pixels = np.rint(canvas * 255).astype(np.uint8)
    instances = [_finish(ink, mask) for ink, mask in zip(inks, visible, strict=True)]
    return Scene(pixels, instances, photo, occluder_photos)


def compose_digit(rng: np.random.Generator, scans: list[Scan], photos: list[Photo]) -> np.ndarray:
    """Compose a picture of the classification set: one whole digit.

    Args:
        rng: Source of every choice.
        scans: The scans to choose from.
        photos: Photos for the background.

    Returns:
        uint8, (64, 64, 3), RGB.
    """
    _, canvas = _background(rng, photos, CLASS_SIZE)
    ink = _render(rng, scans[rng.integers(len(scans))], rng.uniform(*CLASS_HEIGHTS))
    while not _move(rng, ink, CLASS_SIZE):
        ink = _render(rng, ink.scan, CLASS_HEIGHTS[0])
    _draw(rng, canvas, ink)
    return np.rint(canvas * 255).astype(np.uint8)


def _background(rng: np.random.Generator, photos: list[Photo], size: int) -> tuple[str, np.ndarray]:
    """Cut a square of 0.6 to 2 times the wanted size (or what the photo has), scale, mirror and tone it."""
    photo = photos[rng.integers(len(photos))]
    side = min(size * rng.uniform(0.6, 2), *photo.image.size)
    left, top = (rng.uniform(0, extent - side) for extent in photo.image.size)
    crop = photo.image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    pixels = np.asarray(crop).astype(np.float64) / 255
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    mean = pixels.mean()
    return photo.name, np.clip((pixels - mean) * rng.uniform(0.4, 0.75) + mean * rng.uniform(0.8, 1.1), 0, 1)


def _render(rng: np.random.Generator, scan: Scan, height: float) -> _Ink:
    """Scale a scan smoothly to a height in pixels, stretch it a little and turn it."""
    left, top, right, bottom = scan.box
    scale = height / (bottom - top)
    stretch = rng.uniform(0.9, 1.1)
    angle = math.radians(rng.uniform(-MAX_ANGLE, MAX_ANGLE))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    to_pixels = turn @ np.diag([scale * stretch, scale])
    to_cells = np.linalg.inv(to_pixels)
    centre = np.array([(left + right) / 2, (top + bottom) / 2])
    side = math.ceil(math.hypot((right - left) * scale * stretch, height)) + 2 * MARGIN + 2
    offset = centre - to_cells @ np.full(2, side / 2)
    coefficients = (*to_cells[0], offset[0], *to_cells[1], offset[1])
    image = Image.fromarray(scan.cells)
    level = np.asarray(
        image.transform((side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    )
    mask = level > INK_LEVEL
    x, y, width, length = tight_box(mask)
    x, y = x - MARGIN, y - MARGIN
    window = slice(y, y + length + 2 * MARGIN), slice(x, x + width + 2 * MARGIN)
    edge = np.clip((level[window] - INK_LEVEL) * scale * 0.8 + 0.5, 0, 1)  # about one pixel wide
    opacity = edge * np.clip(0.8 + 0.2 * level[window], 0, 1)
    keypoints = (scan.keypoints - centre) @ to_pixels.T + side / 2 - (x, y)
    return _Ink(scan, opacity, mask[window], keypoints, height)


def _move(rng: np.random.Generator, ink: _Ink, size: int, near: _Ink | None = None) -> bool:
    """Choose a place inside the picture, with ``near`` one that touches that digit. False if none fits."""
    room = size - ink.mask.shape[1], size - ink.mask.shape[0]
    if min(room) < 0:
        return False
    if near is None:
        ink.left, ink.top = int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1))
    else:
        angle = rng.uniform(0, 2 * math.pi)
        distance = rng.uniform(0.6, 0.9) * (near.height + ink.height) / 2
        middle = np.array(near.mask.shape[::-1]) / 2 - np.array(ink.mask.shape[::-1]) / 2
        shift = middle + distance * np.array([0.7 * math.cos(angle), math.sin(angle)])
        ink.left = int(np.clip(near.left + shift[0], 0, room[0]))
        ink.top = int(np.clip(near.top + shift[1], 0, room[1]))
    return True


def _place(
    rng: np.random.Generator,
    scans: list[list[Scan]],
    inks: list[_Ink],
    visible: list[np.ndarray],
    occluded: bool,
) -> tuple[_Ink, np.ndarray] | None:
    """Find a digit and a place for it that leaves enough of the others visible. None if none was found."""
    low, high = np.log(DIGIT_HEIGHTS)
    for _ in range(ATTEMPTS):
        of_class = scans[rng.integers(len(scans))]
        ink = _render(rng, of_class[rng.integers(len(of_class))], math.exp(rng.uniform(low, high)))
        near = inks[rng.integers(len(inks))] if occluded and inks and rng.random() < 0.7 else None
        if not _move(rng, ink, SCENE_SIZE, near):
            continue
        clear = np.zeros((SCENE_SIZE, SCENE_SIZE), dtype=bool)
        clear[ink.window] = True
        if sum((clear & other).any() for other in visible) > (near is not None):
            continue  # only the chosen neighbour may be touched
        mask = np.zeros((SCENE_SIZE, SCENE_SIZE), dtype=bool)
        mask[ink.window] = ink.mask
        if _enough_left(mask, inks, visible):
            return ink, mask
    return None


def _enough_left(cover: np.ndarray, inks: list[_Ink], visible: list[np.ndarray]) -> bool:
    return all(
        (mask & ~cover).sum() >= MIN_VISIBLE * ink.mask.sum() for ink, mask in zip(inks, visible, strict=True)
    )


def _draw(rng: np.random.Generator, canvas: np.ndarray, ink: _Ink) -> None:
    """Blend the ink into the canvas, in a colour that stands out from what lies beneath and around it."""
    under = canvas[ink.window]
    around = Image.fromarray(ink.mask).convert('L').filter(ImageFilter.MaxFilter(9))
    luminance = (under @ LUMINANCE)[np.asarray(around) > 0]
    best, best_contrast = 0.0, -1.0
    for candidate in rng.uniform(0.03, 0.97, ATTEMPTS):
        contrast = np.quantile(abs(luminance - candidate), 0.1)
        if contrast > best_contrast:
            best, best_contrast = candidate, contrast
        if contrast > MIN_CONTRAST:
            break
    colour = rng.uniform(0, 1, 3)
    shade = colour @ LUMINANCE
    colour = colour * best / shade if best < shade else 1 - (1 - colour) * (1 - best) / (1 - shade)
    opacity = ink.opacity[..., None]
    canvas[ink.window] = under * (1 - opacity) + colour * opacity


def _hide_part(
    rng: np.random.Generator,
    canvas: np.ndarray,
    photos: list[Photo],
    inks: list[_Ink],
    visible: list[np.ndarray],
    number: int,
) -> str | None:
    """Lay a patch of a photo over a part of one digit; ``canvas`` and ``visible`` change.

    Returns:
        The name of the patch's photo, or None if no place was found.
    """
    rows, columns = np.nonzero(visible[number])
    grid = np.arange(SCENE_SIZE) + 0.5
    for _ in range(ATTEMPTS):
        at = rng.integers(len(rows))
        half_width, half_height = inks[number].height * rng.uniform(0.1, 0.25, 2)
        across = abs(grid - columns[at])[None, :] / half_width
        along = abs(grid - rows[at])[:, None] / half_height
        cover = across**2 + along**2 < 1 if rng.random() < 0.5 else np.maximum(across, along) < 1
        hidden = (visible[number] & cover).sum() / inks[number].mask.sum()
        if hidden > 0.08 and _enough_left(cover, inks, visible):
            name, patch = _background(rng, photos, SCENE_SIZE)
            canvas[cover] = patch[cover]
            visible[:] = [mask & ~cover for mask in visible]
            return name
    return None


def _finish(ink: _Ink, mask: np.ndarray) -> PlacedDigit:
    """Give each keypoint its place in the picture and its visibility.

    A hidden point is labelled (1) while it lies in the box of the visible ink; farther out nobody could point
    at it, and it is not labelled (0, at 0, 0).
    """
    left, top, width, height = tight_box(mask)
    keypoints = np.zeros((len(ink.keypoints), 3))
    for row, point in zip(keypoints, ink.keypoints, strict=True):
        x, y = np.round(point + np.array([ink.left, ink.top]), 1)
        if mask[int(y), int(x)]:
            row[:] = x, y, 2
        elif left <= x <= left + width and top <= y <= top + height:
            row[:] = x, y, 1
    return PlacedDigit(ink.scan, mask, keypoints, mask.sum() / ink.mask.sum())
