"""SVHN (Netzer et al., 2011) as a data set of mmpretrain. Imports mmpretrain."""

from pathlib import Path
from typing import Any

from mmpretrain.datasets import BaseDataset

from inimg_mm.data_files.svhn_files import DIGITS, FILES, SPLITS, Digits
from inimg_mm.errors import UsageError


class SVHN(BaseDataset):
    """The cropped digits of Street View House Numbers (format 2), 32 x 32 pixels.

    ``train_32x32.mat`` has 73,257 images, ``extra_32x32.mat`` 531,131 easier ones, ``test_32x32.mat`` 26,032;
    both trainings together are the 604,388 images that the papers train on. Images are RGB, as mmpretrain's
    CIFAR's are: ``data_preprocessor=dict(…, to_rgb=False)``, and no transform loads them.

    Args:
        data_root: Folder of the files.
        split: 'train', 'extra', 'train+extra' or 'test'.
        **options: Those of mmpretrain's ``BaseDataset``.

    Raises:
        UsageError: If the split is unknown, or a file is missing, cut off, or of another format.
    """

    METAINFO = dict(classes=DIGITS)

    def __init__(self, data_root: str = '', split: str = 'train', **options: Any) -> None:
        if split not in SPLITS:
            raise UsageError(f'SVHN has no split {split!r}; choose from {list(SPLITS)}')
        if options.pop('ann_file', '') or options.pop('data_prefix', ''):
            raise UsageError('SVHN has no ann_file and no data_prefix: its files are in data_root')
        self.split = split
        super().__init__(ann_file='', data_root=data_root, **options)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read the files; the list has the labels alone, so that the images are not in memory twice."""
        self.digits = Digits([Path(self.data_root, FILES[part]) for part in SPLITS[self.split]])
        return [dict(position=i, gt_label=label) for i, label in enumerate(self.digits.labels.tolist())]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Label and pixels of an image."""
        info = super().get_data_info(idx)
        image = self.digits.image(info['position'])
        return info | dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])

    def get_cat_ids(self, idx: int) -> list[int]:
        """The image's label, without its pixels."""
        return [super().get_data_info(idx)['gt_label']]

    def extra_repr(self) -> list[str]:
        """Where the files are."""
        return [f'Files: \t{self.data_root} ({self.split})']
