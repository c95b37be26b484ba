"""mmpretrain's data set of a folder a class, without what no person put there."""

from typing import Any

from mmpretrain.datasets import CustomDataset

from inimg_mm.data_files.class_folders import read_class_folders
from inimg_mm.data_files.image_files import SUFFIXES
from inimg_mm.errors import UsageError


class ClassFolders(CustomDataset):
    """A folder a class: hidden folders are no classes, and hidden files no images.

    Args:
        extensions: Suffixes of its images. Default: those that inference takes from a folder.
        **options: Of ``mmpretrain.CustomDataset``; it has no ``ann_file``.
    """

    def __init__(self, extensions: tuple[str, ...] = SUFFIXES, **options: Any) -> None:
        super().__init__(extensions=extensions, **options)

    def _find_samples(self) -> list[tuple[str, int]]:
        """Paths below the data prefix with the number of their class, by the names of the classes."""
        found = read_class_folders(self.img_prefix)
        classes = tuple(self.CLASSES or found.images)
        if unknown := sorted(set(classes) ^ set(found.images)):
            raise UsageError(
                f'{self.img_prefix} has the class folders {sorted(found.images)}, and the classes are '
                f'{sorted(classes)}: {unknown[0]!r} is in one only'
            )
        self._metainfo['classes'] = classes
        self.folder_to_idx = {name: label for label, name in enumerate(classes)}
        return [
            (image, label)
            for label, name in enumerate(classes)
            for image in found.images[name]
            if self.is_valid_file(image)
        ]
