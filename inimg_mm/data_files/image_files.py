"""Image files: which there are, and what is wrong with one.

Of a file that is cut off older releases of OpenCV fill the rest with grey, and say nothing.
"""

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from .foreign_files import what_it_is

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')
"""Of the files that are taken from a folder."""

PNG = b'\x89PNG\r\n\x1a\n'
JPEG = b'\xff\xd8'
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
"""JPEG markers that no length follows."""
SCAN, END = 0xDA, b'\xff\xd9'
TAIL = 64


def why_broken(path: str | Path) -> str | None:
    """What is wrong with an image file as a whole, or None. What is in its pixels only a decoder sees.

    Empty files, PNG and JPEG files whose end is missing, and files that are something else are found; of most
    only both ends are read.
    """
    with open(path, 'rb') as file:
        head = file.read(len(PNG))
        if not head:
            return 'the file is empty'
        kind = 'PNG' if head == PNG else 'JPEG' if head.startswith(JPEG) else None
        if kind is None:
            return f'it is {other}' if (other := what_it_is(path)) else None
        file.seek(0, os.SEEK_END)
        file.seek(max(file.tell() - TAIL, 0))
        tail = file.read()
        if b'IEND' in tail if kind == 'PNG' else tail.endswith(END):
            return None
        file.seek(0)
        content = file.read()  # something may follow the end
    whole = b'IEND' in content if kind == 'PNG' else content.find(END, _scan(content)) >= 0
    return None if whole else f'the {kind} is cut off'


def _scan(content: bytes) -> int:
    """Where the pixels of a JPEG begin, behind headers that may hold a whole small JPEG; else its end."""
    place = len(JPEG)
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == SCAN:
            return place
        if marker == 0xFF:  # padding
            place += 1
        else:
            place += (
                2 if marker in WITHOUT_LENGTH else 2 + int.from_bytes(content[place + 2 : place + 4], 'big')
            )
    return len(content)


def why_another_size(info: Mapping[str, Any], shape: tuple[int, ...]) -> str | None:
    """What is said where an image has not the size that its annotations say; None if it has.

    Args:
        info: What its data set says of it: ``height`` and ``width``, in pixels.
        shape: Height and width of what was loaded.
    """
    size = info.get('width'), info.get('height')
    if not all(isinstance(side, int | float) and side for side in size) or shape[1::-1] == size:
        return None
    turned = shape[:2] == size
    return (
        f'it is {shape[1]} wide and {shape[0]} high as it is loaded, and {size[0]} wide and {size[1]} high '
        'in its annotations' + ('; an EXIF orientation turns it: label it as it is shown' if turned else '')
    )


class UnreadableImage(Exception):
    """An image that is damaged, or none."""


def load_image(path: Path, loader: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Load an image with a transform of a host, whole.

    Decoders fill up with grey what is missing of a file that is cut off; PIL says so.

    Args:
        path: The image.
        loader: The transform.

    Raises:
        UnreadableImage: If that is not possible.
    """
    if not path.stat().st_size:
        raise UnreadableImage('the file is empty')
    is_image = True
    try:
        with warnings.catch_warnings(), Picture.open(path) as picture:
            warnings.simplefilter('ignore')
            picture.load()
    except Picture.DecompressionBombError:
        pass  # large, and perhaps whole
    except UnidentifiedImageError:
        is_image = False  # but the loader may know it
    except Exception as error:  # broken files raise anything
        raise UnreadableImage(_reason(error)) from error
    try:
        loaded = loader(dict(img_path=str(path)))
    except Exception as error:
        raise UnreadableImage(_reason(error) if is_image else 'that is no image') from error
    if loaded is None or loaded.get('img') is None:
        raise UnreadableImage('the loader gives nothing')
    return loaded


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def as_picture(pixels: Any) -> np.ndarray:
    """Loaded pixels as a picture to draw on: 8-bit RGB, (H, W, 3).

    Args:
        pixels: BGR, BGRA or grey, (H, W) or (H, W, C), of 8 or 16 bits, or floats up to 255.
    """
    pixels = np.asarray(pixels)
    if pixels.dtype == np.uint16:
        pixels = pixels / 257
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        grey = pixels if pixels.ndim == 2 else pixels[..., 0]
        return np.repeat(grey[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1])
