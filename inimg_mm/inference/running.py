"""From images to pictures and predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from PIL import Image as Picture
from rich.console import Console
from rich.progress import track

from inimg_mm.data_files.image_files import UnreadableImage
from inimg_mm.data_files.picture_names import common_folder, picture_paths
from inimg_mm.errors import UsageError
from inimg_mm.hosts import HOSTS
from inimg_mm.hosts.inferencer import Inferencer
from inimg_mm.hosts.mmdet import Detection
from inimg_mm.hosts.mmpose import Finder, Keypoints
from inimg_mm.output_files import check_folder
from inimg_mm.predictions import FORMS, Image, Record, form_of

from .box_source import BoxSource, boxes_of_file
from .images import find_images
from .weights import checked_weights


class Inferred(NamedTuple):
    """What came out.

    Attributes:
        pictures: The pictures drawn.
        predictions: The file of predictions; None if no image could be read.
        unreadable: The images that could not be read, each with the reason.
    """

    pictures: list[Path]
    predictions: Path | None
    unreadable: dict[Path, str]


def infer(
    cfg: Config,
    checkpoint: str,
    sources: Sequence[str | Path],
    out_dir: str | Path,
    score_thr: float | None = None,
    device: str | None = None,
    batch_size: int = 1,
    trust: bool = False,
    boxes: BoxSource | None = None,
) -> Inferred:
    """Draw what a model predicts on images, and write it down.

    Each picture is in ``out_dir`` where its image is below the folder that all images share. All
    predictions are in ``predictions.json`` there, see :mod:`inimg_mm.predictions`; images and
    categories are numbered from 1. An image that cannot be read does not stop the others.

    Args:
        cfg: Config of the model, from :func:`.load_config`. Images go through its test pipeline.
        checkpoint: File or URL of the weights.
        sources: Files, folders and patterns, see :func:`.find_images`.
        out_dir: Folder of the results; made if it is missing.
        score_thr: Least score of what is drawn: of boxes and masks (default 0.3), of each keypoint (0.3),
            of a class (0). What is written is not sifted.
        device: As torch names it; default: the accelerator, if there is one.
        batch_size: Images that a model is given at once; of a top-down keypoint model, boxes.
        trust: Accept a checkpoint that needs unpickling.
        boxes: Where a top-down keypoint model looks. Default: each whole image is one object.

    Raises:
        UsageError: If an image, folder or the device is missing, the host is unknown, or an option has no
            meaning for the model.
        CheckpointError: If a checkpoint is missing, damaged, or would run code.
    """
    if cfg.default_scope not in HOSTS:
        raise UsageError(f'models of {", ".join(HOSTS)} are drawn, and not of {cfg.default_scope!r}')
    inferencer = HOSTS[cfg.default_scope].inferencer
    boxes = BoxSource() if boxes is None else boxes
    if score_thr is not None and inferencer.score_thr is None:
        raise UsageError('--score-thr has no meaning for class maps: every pixel has a class')
    if batch_size < 1:
        raise UsageError(f'--batch-size is at least 1, not {batch_size}')
    boxes.check()
    out_dir = Path(out_dir).absolute()
    images = find_images(sources, leave_out=out_dir)
    pictures = picture_paths(images, out_dir)
    device = checked_device(device)
    with checked_weights(cfg, checkpoint, trust) as (weights, meta):
        model = inferencer(cfg, weights, meta, device, batch_size)
    if boxes:
        _set_boxes(model, boxes, images, device, trust)
    check_folder(out_dir)
    return _run(model, images, pictures, out_dir, model.score_thr if score_thr is None else score_thr)


def checked_device(device: str | None) -> str:
    """The device, or the best that there is.

    Raises:
        UsageError: If it is not there.
    """
    if device is None:
        return get_device()
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f'--device {device} cannot be used: {reason}') from error
    return device


def _set_boxes(
    model: Inferencer, source: BoxSource, images: Sequence[Path], device: str, trust: bool
) -> None:
    if not isinstance(model, Keypoints) or not model.top_down:
        raise UsageError('boxes are for top-down keypoint models, which this config has none of')
    if source.file is not None:
        model.boxes = boxes_of_file(source, images)
    elif source.detector is not None and source.checkpoint is not None:
        with checked_weights(source.detector, source.checkpoint, trust) as (weights, meta):
            model.boxes = _boxes_of_detector(source, Detection(source.detector, weights, meta, device))


def _boxes_of_detector(source: BoxSource, detector: Detection) -> Finder:
    labels = list(source.labels(detector.meta['classes']))

    def find(path: Path, image: dict[str, Any]) -> np.ndarray:
        found = detector.predict([detector.load(path)])[0].pred_instances.cpu().numpy()
        boxes = np.hstack([found.bboxes, found.scores[:, None]])
        return source.chosen(boxes[np.isin(found.labels, labels)])

    return find


def _run(
    model: Inferencer,
    images: Sequence[Path],
    pictures: Sequence[Path],
    out_dir: Path,
    score_thr: float | None,
) -> Inferred:
    """Go through the images, a batch at a time, with a progress bar."""
    subject = model.subject()
    subject.root = common_folder(images)
    out = out_dir / 'predictions.json'
    records: list[Record] = []
    drawn: list[Path] = []
    unreadable: dict[Path, str] = {}
    numbered = list(enumerate(zip(images, pictures, strict=True), 1))
    size = model.batch_size
    batches = [numbered[start : start + size] for start in range(0, len(numbered), size)]
    for batch in track(batches, 'predicting', console=Console(stderr=True)):
        readable = []
        for number, (path, picture) in batch:
            try:
                readable.append((number, path, picture, model.load(path)))
            except UnreadableImage as error:
                unreadable[path] = str(error)
        samples = model.predict([loaded for *_, loaded in readable]) if readable else []
        for (number, path, picture, loaded), sample in zip(readable, samples, strict=True):
            height, width = loaded['img'].shape[:2]
            image = Image(number, str(path), width, height)
            records.append(FORMS[form_of(sample)].record(sample, image, subject, out))
            _save(model.draw(loaded, sample, score_thr or 0.0), picture)
            drawn.append(picture)
            form = form_of(sample)
    if not records:
        return Inferred(drawn, None, unreadable)
    FORMS[form].write(records, subject, out)
    return Inferred(drawn, out, unreadable)


def _save(pixels: np.ndarray, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(pixels).save(path, quality=95)
    except OSError as error:
        raise UsageError(f'cannot write {path}: {error.strerror or error}') from error
