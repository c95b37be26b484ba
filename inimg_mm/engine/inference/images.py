"""Which images are meant, where their pictures go, and whether they can be read."""

import glob
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from ..errors import UsageError

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')
"""Of the files that are taken from a folder; a file that is named is tried whatever its name."""

WRITTEN = ('.bmp', '.jpeg', '.jpg', '.png', '.webp')
"""Suffixes that a picture keeps; it has ``.png`` after another."""


class UnreadableImage(Exception):
    """An image that is damaged, or none."""


def find_images(sources: Iterable[str | Path], leave_out: Path) -> list[Path]:
    """List the images that files, folders and patterns name.

    Args:
        sources: Files; folders, whose images are taken with those of their subfolders; patterns as in a
            shell, ``**`` for any subfolders. They keep this order; what one stands for is sorted.
        leave_out: Folder whose files are not taken, unless they are named.

    Returns:
        Absolute paths, each once.

    Raises:
        UsageError: If one stands for no image.
    """
    found: dict[Path, None] = {}
    files: Iterable[Path]
    for source in map(str, sources):
        path = Path(os.path.abspath(source))
        if path.is_file():
            found[path] = None
            continue
        if path.is_dir():
            files, what = path.rglob('*'), f'the folder {source} has no image ({", ".join(SUFFIXES)})'
        elif glob.has_magic(source):
            files = map(Path, glob.glob(source, recursive=True))
            what = f'no image matches {source!r}'
        else:
            raise UsageError(f'there is no image or folder {source}')
        images = sorted(
            Path(os.path.abspath(file))
            for file in files
            if file.suffix.lower() in SUFFIXES and file.is_file()
        )
        taken = [image for image in images if not image.is_relative_to(leave_out)]
        if images and not taken:
            raise UsageError(
                f'all images of {source} are in {leave_out}, where the pictures go: choose another'
            )
        if not taken:
            raise UsageError(what)
        found.update(dict.fromkeys(taken))
    return list(found)


def common_folder(images: Sequence[Path]) -> Path:
    """The deepest folder that all images are in or below."""
    return Path(os.path.commonpath([image.parent for image in images]))


def picture_paths(images: Sequence[Path], out_dir: Path) -> list[Path]:
    """Where each image's picture goes: below ``out_dir`` as the image is below the common folder.

    Raises:
        UsageError: If a picture would take the place of an image.
    """
    root = common_folder(images)
    pictures = []
    for image in images:
        name = image.relative_to(root)
        kept = name.suffix.lower() in WRITTEN
        pictures.append(out_dir / (name if kept else name.with_name(f'{name.name}.png')))
    originals = {image.resolve() for image in images}
    for picture in pictures:
        if picture.resolve() in originals:
            raise UsageError(
                f'in {out_dir} the picture would overwrite its image {picture}: choose another folder'
            )
    return pictures


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
