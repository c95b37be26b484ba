"""Where the picture of each image goes."""

import os
from collections.abc import Sequence
from pathlib import Path

from inimg_mm.errors import UsageError

WRITTEN = ('.bmp', '.jpeg', '.jpg', '.png', '.webp')
"""Suffixes that a picture keeps; it has ``.png`` after another."""


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
