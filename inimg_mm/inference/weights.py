"""A checkpoint as the inferencers may have it: read safely, of this model, with the right names."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner.checkpoint import load_state_dict

from inimg_mm.checkpoints.fitting import check_fit
from inimg_mm.checkpoints.reading import open_checkpoint
from inimg_mm.hosts.dataset_meta import Meta, dataset_meta
from inimg_mm.registry import build_model


@contextmanager
def checked_weights(cfg: Config, checkpoint: str, trust: bool = False) -> Iterator[tuple[Path, Meta]]:
    """Write a file of a checkpoint's weights and names alone, for as long as the context lasts.

    The inferencers unpickle what they are given, load of it what fits, and take COCO's or Cityscapes'
    names where a file has none.

    Args:
        cfg: Config of the model.
        checkpoint: File or URL.
        trust: Accept a file that needs unpickling.

    Yields:
        The file, and what the model's data set says of itself: names of classes or keypoints.

    Raises:
        CheckpointError: If the checkpoint is missing, damaged, or would run code.
        UsageError: If it is of another model.
    """
    opened = open_checkpoint(checkpoint, trust)
    check_fit(cfg, opened)
    meta = dataset_meta(cfg, opened.meta)
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder, 'weights.pth')
        torch.save(dict(state_dict=opened.state, meta=dict(dataset_meta=meta)), clean)
        del opened
        yield clean, meta


def load_model(cfg: Config, checkpoint: str | Path, trust: bool = False) -> Any:
    """Build a config's model with a checkpoint's weights, on the accelerator if there is one, in eval mode.

    Args:
        cfg: Config of the model.
        checkpoint: File or URL.
        trust: Accept a file that needs unpickling.

    Raises:
        CheckpointError: If the checkpoint is missing, damaged, or would run code.
        UsageError: If it is of another model.
    """
    opened = open_checkpoint(checkpoint, trust)
    model = build_model(cfg)
    check_fit(cfg, opened, model=model)
    load_state_dict(model, opened.state)
    return model.to(get_device()).eval()
