"""Samples of a config's own test set, as a model is given them, and what is annotated in them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, FUNCTIONS, init_default_scope

from inimg_mm.data_files.checks import check_data
from inimg_mm.hosts import HOSTS


class TestSet:
    """A config's test set.

    Args:
        cfg: The config; its host becomes mmengine's default scope.

    Attributes:
        dataset: The host's data set.
        names: Of the classes.

    Raises:
        UsageError: If the data is missing.
    """

    __test__ = False  # pytest looks for names that begin so

    def __init__(self, cfg: Config) -> None:
        check_data(cfg, ['test_dataloader'])
        init_default_scope(cfg.default_scope)
        self.host = HOSTS[cfg.default_scope]
        self.dataset: Any = DATASETS.build(cfg.test_dataloader.dataset)
        self.names = tuple(self.dataset.metainfo.get('classes') or ('',))
        self._collate = FUNCTIONS.get(
            cfg.test_dataloader.get('collate_fn', dict(type='pseudo_collate'))['type']
        )

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Sequence[int]) -> Any:
        """Samples as ``test_step`` takes them."""
        return self._collate([self.dataset[index] for index in indices])

    def labels(self) -> np.ndarray | None:
        """Each sample's class: its own, or that of its largest annotated box, -1 without any.

        Returns:
            (N,) integers; None where the host knows no objects, or they are of one class.
        """
        if self.host.truth is None or len(self.names) < 2:
            return None
        return np.array([self._label(index) for index in range(len(self))])

    def _label(self, index: int) -> int:
        assert self.host.truth is not None
        objects = self.host.truth(self.dataset.get_data_info(index), self.names)
        if not objects:
            return -1
        return max(objects, key=lambda found: _area(found.box)).label


def _area(box: Sequence[float] | None) -> float:
    return 0.0 if box is None else (box[2] - box[0]) * (box[3] - box[1])
