"""What the package asks of every host."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mmengine.config import Config

from inimg_mm.drawing import Instance
from inimg_mm.errors import UsageError

from .inferencer import Inferencer

Size = tuple[int, int]
"""Width and height in pixels."""


class Host(NamedTuple):
    """A host: what is done differently for it.

    Attributes:
        inferencer: Predicts on images.
        drawing: The lines of a config by which a test draws its pictures into a folder.
        input_size: Width and height of a test image as a config's model gets it.
        truth: Reads the annotated objects out of what its data set knows of a sample, given the classes'
            names; None where no contact sheets are drawn.
        predicted: The same of a model's output for a sample.
        sifted: Whether predictions have scores of their own by which they are left out.
        loader: What its launch script gives to data loaders that do not say.
    """

    inferencer: type[Inferencer]
    drawing: Callable[[str], dict[str, Any]]
    input_size: Callable[[Config], Size]
    truth: Callable[[dict[str, Any], Sequence[str]], list[Instance]] | None = None
    predicted: Callable[[Any, Sequence[str]], list[Instance]] | None = None
    sifted: bool = False
    loader: Callable[[dict[str, Any]], dict[str, Any]] = lambda loader: {}


def size_of_pipeline(cfg: Config) -> Any:
    """What the last transform of the test pipeline that scales or crops makes of an image.

    Raises:
        UsageError: If none says.
    """
    for transform in reversed(cfg.test_dataloader.dataset.pipeline):
        if size := transform.get('crop_size') or transform.get('scale'):
            return size
    raise UsageError('no transform of the test pipeline says how large the images are')
