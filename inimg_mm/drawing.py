"""Draw the objects of a picture: boxes, masks, keypoints and names."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]

MASK_OPACITY = 0.4
MISSING = 0.3  # below this a keypoint counts as unseen
FONT_SIZE = 13


@dataclass
class Instance:
    """One object, annotated or predicted, in pixels of the picture.

    Attributes:
        label: Index of its class.
        name: Name of its class.
        score: Of a prediction, from 0 to 1.
        box: Left, top, right, bottom.
        mask: bool, (H, W).
        keypoints: float, (K, 3): x, y and how visible or certain the point is, from 0 to 1.
    """

    label: int
    name: str
    score: float | None = None
    box: Sequence[float] | None = None
    mask: np.ndarray | None = None
    keypoints: np.ndarray | None = None

    @property
    def caption(self) -> str:
        """The name, with the score of a prediction."""
        return self.name if self.score is None else f'{self.name} {self.score:.2f}'


class Canvas(NamedTuple):
    """A picture being drawn on, and how much larger it is than the original."""

    image: Image.Image
    zoom: float


def colours(number: int) -> list[Colour]:
    """Choose colours that tell ``number`` things apart on a photo."""
    hues = ((0.6 + index * 0.618034) % 1 for index in range(number))  # the golden ratio: neighbours differ
    return [_rgb(hue, 0.85, 1 if index % 2 == 0 else 0.85) for index, hue in enumerate(hues)]


def draw(
    picture: Image.Image,
    size: tuple[int, int],
    instances: Sequence[Instance],
    links: Sequence[tuple[int, int]],
) -> Image.Image:
    """Draw objects on a picture.

    Args:
        picture: The original.
        size: Width and height of the result; the picture is scaled to fit and centred on grey.
        instances: What to draw, the most important last.
        links: Pairs of keypoints that a line joins.
    """
    zoom = min(size[0] / picture.width, size[1] / picture.height)
    scaled = (max(round(picture.width * zoom), 1), max(round(picture.height * zoom), 1))
    canvas = Canvas(picture.convert('RGB').resize(scaled, Image.Resampling.LANCZOS), zoom)
    by_keypoints = any(instance.keypoints is not None for instance in instances)
    keys = [index if by_keypoints else instance.label for index, instance in enumerate(instances)]
    palette = colours(max(keys, default=0) + 1)
    for key, instance in zip(keys, instances, strict=True):
        if instance.mask is not None:
            _draw_mask(canvas, instance.mask, palette[key])
    for key, instance in zip(keys, instances, strict=True):
        if instance.box is not None:
            box = [value * zoom for value in instance.box]
            ImageDraw.Draw(canvas.image).rectangle(box, outline=palette[key], width=1 if by_keypoints else 2)
        if instance.keypoints is not None:
            _draw_keypoints(canvas, instance.keypoints, links, palette[key])
    taken: list[tuple[float, ...]] = []
    for key, instance in zip(keys, instances, strict=True):
        if instance.name:
            _draw_caption(canvas, instance, palette[key], taken)
    result = Image.new('RGB', size, (24, 24, 24))
    result.paste(canvas.image, ((size[0] - scaled[0]) // 2, (size[1] - scaled[1]) // 2))
    return result


def font(size: int = FONT_SIZE) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of all texts."""
    return ImageFont.load_default(size)


def _draw_mask(canvas: Canvas, mask: np.ndarray, colour: Colour) -> None:
    area = Image.fromarray(mask).convert('L').resize(canvas.image.size, Image.Resampling.BILINEAR)
    tint = Image.new('RGB', canvas.image.size, colour)
    canvas.image.paste(tint, mask=area.point(lambda value: round(value * MASK_OPACITY)))
    inside = np.asarray(area) > 127
    rim = inside & ~(np.asarray(Image.fromarray(inside).convert('L').filter(ImageFilter.MinFilter(3))) > 0)
    canvas.image.paste(tint, mask=Image.fromarray(rim))


def _draw_keypoints(
    canvas: Canvas, keypoints: np.ndarray, links: Sequence[tuple[int, int]], colour: Colour
) -> None:
    pen = ImageDraw.Draw(canvas.image)
    points = [(x * canvas.zoom, y * canvas.zoom) for x, y, _ in keypoints]
    seen = [visible > MISSING for _, _, visible in keypoints]
    for start, end in links:
        if seen[start] and seen[end]:
            pen.line([points[start], points[end]], fill=colour, width=2)
    hues = colours(len(points))
    for index, (x, y) in enumerate(points):
        if seen[index]:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=hues[index], outline=(0, 0, 0))


def _draw_caption(canvas: Canvas, instance: Instance, colour: Colour, taken: list[tuple[float, ...]]) -> None:
    """Write the caption above the box, inside it where there is no room, clear of those written already."""
    pen = ImageDraw.Draw(canvas.image)
    width, height = pen.textlength(instance.caption, font=font()) + 6, FONT_SIZE + 4
    left, top, _, bottom = (value * canvas.zoom for value in instance.box or (0, 0, 0, 0))
    left = min(max(left, 0), max(canvas.image.width - width, 0))
    places = [top - height + 1, bottom, top] if top >= height else [top, bottom]
    places = [place for place in places if 0 <= place <= canvas.image.height - height] or [0]
    free = [
        place for place in places if not any(_overlap((left, place, width, height), other) for other in taken)
    ]
    place = (free or places)[0]
    taken.append((left, place, width, height))
    pen.rectangle((left, place, left + width - 1, place + height - 1), fill=colour)
    ink = (0, 0, 0) if np.dot(colour, (0.299, 0.587, 0.114)) > 110 else (255, 255, 255)
    pen.text((left + 3, place + height / 2), instance.caption, fill=ink, font=font(), anchor='lm')


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue
