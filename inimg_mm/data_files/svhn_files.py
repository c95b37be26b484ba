"""SVHN's cropped digits, format 2: the ``.mat`` files that its authors publish."""

from pathlib import Path
from typing import Any

import numpy as np

from inimg_mm.errors import UsageError

HOME = 'http://ufldl.stanford.edu/housenumbers/'
DIGITS = tuple('0123456789')
"""Names of the classes."""
FILES = {name: f'{name}_32x32.mat' for name in ('train', 'test', 'extra')}
"""The files of format 2 by split."""
SPLITS = {'train': ('train',), 'extra': ('extra',), 'train+extra': ('train', 'extra'), 'test': ('test',)}
"""What a data set can be made of; with the extra images 604,388 are for training."""
HDF5 = b'MATLAB 7.3'
"""Head of the files of format 1 (``digitStruct.mat``): whole numbers with boxes."""


class Digits:
    """Images and labels of several files, as they were read: no image is copied until it is asked for.

    Processes that are forked share the pixels, and so do copies (``copy.deepcopy``): nobody writes to them.

    Args:
        paths: The files, in order.

    Attributes:
        labels: The digits, (N,) uint8; the files' class 10 is 0.

    Raises:
        UsageError: If a file is missing, cut off, or of another format.
    """

    def __init__(self, paths: list[Path]) -> None:
        pixels, labels = zip(*map(read_digits, paths), strict=True)
        self._pixels: tuple[np.ndarray, ...] = pixels
        self._ends = np.cumsum([len(part) for part in labels])
        self.labels = np.concatenate(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __deepcopy__(self, memo: dict[int, Any]) -> 'Digits':
        return self

    def image(self, index: int) -> np.ndarray:
        """A copy of image ``index``: RGB, (32, 32, 3) uint8."""
        part = int(np.searchsorted(self._ends, index, side='right'))
        start = self._ends[part - 1] if part else 0
        return np.ascontiguousarray(self._pixels[part][..., index - start])


def read_digits(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a file of format 2.

    Args:
        path: The file.

    Returns:
        The pixels as the file has them, (32, 32, 3, N) uint8 in Fortran's order, so that an image is one
        piece of memory; and the digits, (N,) uint8.

    Raises:
        UsageError: If the file is missing, cut off, or of another format.
    """
    from scipy.io import loadmat

    if not path.is_file():
        raise UsageError(f'there is no {path}: SVHN, format 2 (cropped digits), is at {HOME}')
    with path.open('rb') as file:
        if file.read(len(HDF5)) == HDF5:
            raise UsageError(
                f'{path} is not of format 2 (cropped digits, {", ".join(FILES.values())}): {HOME}'
            )
    try:
        content = loadmat(path, variable_names=('X', 'y'))
    except Exception as error:  # bytes that are no .mat file raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UsageError(f'{path} is cut off, damaged, or no .mat file: {reason}') from error
    pixels, labels = (np.asarray(content.get(name)) for name in ('X', 'y'))
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3):
        raise UsageError(f'{path} is not of format 2: it has no X of 32 x 32 x 3 x N bytes')
    labels = labels.ravel()
    if len(labels) != pixels.shape[3] or not np.isin(labels, range(1, 11)).all():
        raise UsageError(f'{path} is not of format 2: y is not a class from 1 to 10 for each of its images')
    return pixels, (labels % 10).astype(np.uint8)
