"""A config's model without memory or time for its weights, for checks that ask of shapes alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch._subclasses.fake_tensor import FakeTensorMode

from inimg_mm.registry import build_model


class Outline:
    """The model of a config on tensors without values, built once: when a check first asks for it.

    Args:
        cfg: Config of any host.
    """

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg

    @cached_property
    def _mode(self) -> FakeTensorMode:
        return FakeTensorMode()  # a second of imports where it is the first

    @cached_property
    def model(self) -> Any:
        """The model; None if it cannot be built so, of which the training itself will say why."""
        try:
            with self.at_work():
                return build_model(self.cfg)
        except Exception:
            return None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Where the model runs: every tensor that is made there has no values."""
        with self._mode, DefaultScope.overwrite_default_scope(self.cfg.default_scope):
            yield
