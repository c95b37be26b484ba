"""Contact sheets of the demo data with the annotations drawn on them."""

import colorsys
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from .scene import SCENE_SIZE, PlacedDigit
from .sources import CLASSES

GRID = 4  # pictures a row and a column
ZOOM = 2
GAP = 8  # pixels between pictures
LEGEND = 30  # pixels
POINT_COLOURS = {2: (60, 255, 60), 1: (255, 60, 60)}  # visible, hidden
CLASS_COLOURS = [
    tuple(round(255 * value) for value in colorsys.hsv_to_rgb(digit / len(CLASSES), 0.75, 1))
    for digit in range(len(CLASSES))
]


def draw_instances(pixels: np.ndarray, instances: list[PlacedDigit]) -> Image.Image:
    """Draw boxes, class names, mask outlines and keypoints on a picture.

    Args:
        pixels: uint8, (H, W, 3), RGB.
        instances: The digits in it.

    Returns:
        The picture at twice its size.
    """
    size = pixels.shape[1] * ZOOM, pixels.shape[0] * ZOOM
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(14)
    for instance in instances:
        colour = CLASS_COLOURS[instance.scan.digit]
        mask = Image.fromarray(instance.mask).convert('L').resize(size, Image.Resampling.NEAREST)
        draw.bitmap((0, 0), ImageChops.subtract(mask.filter(ImageFilter.MaxFilter(3)), mask), fill=colour)
        left, top, width, height = (value * ZOOM for value in instance.box)
        draw.rectangle((left, top, left + width - 1, top + height - 1), outline=colour)
    for instance in instances:
        left, top, _, _ = (value * ZOOM for value in instance.box)
        name = CLASSES[instance.scan.digit]
        text_box = draw.textbbox((left + 2, max(top - 17, 0)), name, font=font)
        draw.rectangle((text_box[0] - 2, text_box[1] - 2, text_box[2] + 2, text_box[3] + 2), fill=(0, 0, 0))
        draw.text((left + 2, max(top - 17, 0)), name, fill=CLASS_COLOURS[instance.scan.digit], font=font)
        for x, y, visibility in instance.keypoints:
            if visibility:
                x, y = x * ZOOM, y * ZOOM
                colour = POINT_COLOURS[int(visibility)]
                draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour, outline=(0, 0, 0))
    return picture


def save_contact_sheet(path: Path, pictures: list[Image.Image]) -> None:
    """Save up to 16 drawn pictures as one PNG, with a line that explains the colours."""
    step = SCENE_SIZE * ZOOM + GAP
    sheet = Image.new('RGB', (GRID * step + GAP, GRID * step + GAP + LEGEND), (32, 32, 32))
    for number, picture in enumerate(pictures[: GRID * GRID]):
        sheet.paste(picture, (GAP + number % GRID * step, GAP + number // GRID * step))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(16)
    x, y = GAP, GRID * step + GAP
    for visibility, text in ((2, 'visible keypoint'), (1, 'hidden keypoint')):
        draw.ellipse((x, y + 5, x + 12, y + 17), fill=POINT_COLOURS[visibility])
        draw.text((x + 18, y), text, fill=(230, 230, 230), font=font)
        x += 180
    draw.text(
        (x, y), 'box and outline: visible ink, in the colour of the class', fill=(230, 230, 230), font=font
    )
    sheet.save(path)
