"""mmseg's data set of a label map an image, for images of any suffix."""

import os
from typing import Any

from mmseg.datasets import BaseSegDataset

from inimg_mm.data_files.label_maps import read_map_folders


class LabelMaps(BaseSegDataset):
    """Images and label maps in folders and those below: hidden ones are none, and suffixes may differ.

    Args:
        **options: Of ``mmseg.BaseSegDataset``; it has no ``ann_file``.
    """

    def load_data_list(self) -> list[dict[str, Any]]:
        """Where each image and its label map are, sorted by the image."""
        images, labels = self.data_prefix['img_path'], self.data_prefix['seg_map_path']
        return [
            dict(
                img_path=os.path.join(images, image),
                seg_map_path=os.path.join(labels, label),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for image, label in sorted(read_map_folders(images, labels).pairs)
        ]
