"""A hook that gives the picture of each test image a place of its own."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from inimg_mm.data_files.picture_names import picture_paths
from inimg_mm.registry import HOOKS

from .wrapped_datasets import innermost


@HOOKS.register_module()
class PictureNamesHook(Hook):
    """Draw each test image into a folder where it is below the folder that all images share.

    The hosts' visualisation hooks name a picture after its image alone, so that images of one name in several
    folders, as of several cameras or classes, overwrite each other's. With this hook beside one of them,
    ``cam0/1.jpg`` and ``cam1/1.jpg`` keep their folders, as in ``tools/infer.py``; further samples of one
    image, as of a top-down keypoint model, are numbered. ``tools/test.py --show-dir`` adds it.

    Args:
        out: The folder.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out).absolute()

    def before_test(self, runner: Runner) -> None:
        """Find out which images there are.

        Raises:
            UsageError: If a picture would take the place of an image.
        """
        images = list(dict.fromkeys(_images(runner.test_dataloader.dataset)))
        if not images:
            return
        places = dict(zip(images, picture_paths(images, self.out), strict=True))
        for hook in runner.hooks:
            visualizer = getattr(hook, '_visualizer', None)
            if visualizer is not None and not isinstance(visualizer, _Renaming):
                hook._visualizer = _Renaming(visualizer, places)

    def after_test(self, runner: Runner) -> None:
        """Leave the other hooks as they were."""
        for hook in runner.hooks:
            if isinstance(getattr(hook, '_visualizer', None), _Renaming):
                hook._visualizer = hook._visualizer.visualizer


class _Renaming:
    """Stands before a host's visualiser, and says where its pictures go."""

    def __init__(self, visualizer: Any, places: dict[Path, Path]) -> None:
        self.visualizer, self.places = visualizer, places
        self._taken = set(places.values())
        self._drawn: set[Path] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.visualizer, name)

    def add_datasample(self, name: str, image: Any, data_sample: Any = None, **options: Any) -> Any:
        """Of mmdet, mmpose and mmseg."""
        return self.visualizer.add_datasample(
            name, image, data_sample=data_sample, **self._placed(data_sample, options)
        )

    def visualize_cls(self, image: Any, data_sample: Any, **options: Any) -> Any:
        """Of mmpretrain."""
        return self.visualizer.visualize_cls(image, data_sample, **self._placed(data_sample, options))

    def _placed(self, sample: Any, options: dict[str, Any]) -> dict[str, Any]:
        path = sample.get('img_path') if sample is not None else None
        picture = self.places.get(Path(os.path.abspath(path))) if path else None
        if picture is None:
            return options
        place, number = picture, 0
        while place in self._drawn or (number and place in self._taken):
            number += 1
            place = picture.with_name(f'{picture.stem}_{number}{picture.suffix}')
        self._drawn.add(place)
        return {**options, 'out_file': str(place)}


def _images(dataset: Any) -> Iterator[Path]:
    """The images of the data sets of mmengine's kind, behind wrappers."""
    for part in innermost(dataset):
        if hasattr(part, 'get_data_info'):
            for index in range(len(part)):
                path = part.get_data_info(index).get('img_path')
                if isinstance(path, str) and '://' not in path:
                    yield Path(os.path.abspath(path))
