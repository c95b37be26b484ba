"""Whether what was loaded has the size that it should have: what can only be seen on loading."""

from collections.abc import Mapping
from typing import Any

from inimg_mm.data_files.image_files import why_another_size
from inimg_mm.data_files.label_maps import why_no_label_map

Sizes = Mapping[Any, Mapping[str, Any]]
"""Width and height of each image by its id, where the samples do not have them."""


class BrokenFile(Exception):
    """A file that can be loaded, and is not what it should be."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason


class LoadedSizes:
    """A step of a pipeline, behind those that load: compares an image with its annotations.

    Args:
        sizes: See :data:`Sizes`.
    """

    def __init__(self, sizes: Sizes | None = None) -> None:
        self.sizes = sizes

    def __call__(self, results: Any) -> Any:
        """Pass on what was loaded.

        Raises:
            BrokenFile: If an image has another size than its annotations say, or its label map has another
                size or several channels.
        """
        if not isinstance(results, dict):
            return results
        shape = results.get('ori_shape')
        if shape is not None:
            info = results if self.sizes is None else self.sizes.get(results.get('img_id'), {})
            if reason := why_another_size(dict(info), tuple(shape)):
                raise BrokenFile(str(results.get('img_path')), reason)
        labels = results.get('gt_seg_map')
        if labels is not None and (
            reason := why_no_label_map(labels.shape, tuple(shape[:2]) if shape is not None else None)
        ):
            raise BrokenFile(str(results.get('seg_map_path')), reason)
        return results


def compare_sizes(dataset: Any, sizes: Sizes | None = None) -> None:
    """Put :class:`LoadedSizes` behind the last loading step of a data set's pipeline, unless it is there."""
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    if not isinstance(steps, list) or any(isinstance(step, LoadedSizes) for step in steps):
        return
    loading = [place for place, step in enumerate(steps) if type(step).__name__.startswith('Load')]
    if loading:
        steps.insert(loading[-1] + 1, LoadedSizes(sizes))
