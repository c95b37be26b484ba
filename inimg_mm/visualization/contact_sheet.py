"""A contact sheet: what is annotated beside what a model predicts."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image, ImageDraw

from inimg_mm.drawing import Instance, draw, font
from inimg_mm.errors import UsageError
from inimg_mm.hosts import HOSTS, Host
from inimg_mm.inference.weights import load_model

from .samples import TestSet

GAP = 10  # pixels between pairs
HEADER = 34  # pixels
WIDEST = 1800  # pixels that a sheet of several columns has at most


def contact_sheet(
    cfg: Config,
    checkpoint: str | Path,
    out: str | Path,
    num_images: int = 12,
    score_thr: float = 0.5,
    height: int = 288,
    trust: bool = False,
) -> Path:
    """Draw test images in pairs, the annotations on the left and the predictions on the right, into one PNG.

    Images and predictions come through the config's own test data set and pipeline. Classes have
    colours; of keypoint models, objects.

    Args:
        cfg: Config of mmdet, mmpretrain or mmpose.
        checkpoint: Weights of its model.
        out: The PNG to write; its folder is made if it is missing.
        num_images: How many images, taken evenly from the whole set.
        score_thr: Predictions with a lower score are left out.
        height: Of each picture in pixels.
        trust: Accept a checkpoint that needs unpickling.

    Returns:
        ``out`` as an absolute path.

    Raises:
        UsageError: If the config's host is another one, the data is missing, the checkpoint is of another
            model, or a number is not positive.
        CheckpointError: If the checkpoint is missing, damaged, or would run code.
    """
    scope = cfg.get('default_scope')
    drawn = [name for name, host in HOSTS.items() if host.truth is not None]
    if scope not in drawn:
        raise UsageError(f'contact sheets are drawn for {", ".join(drawn)}, and not for {scope!r}')
    host = HOSTS[scope]
    if min(num_images, height) < 1:
        raise UsageError(f'num_images and height must be at least 1, got {num_images} and {height}')
    model = load_model(cfg, checkpoint, trust)
    tests = TestSet(cfg)
    dataset = tests.dataset
    groups = _samples_by_image(dataset)
    chosen = np.linspace(0, len(groups) - 1, min(num_images, len(groups))).round().astype(int)
    pairs = []
    for group in (groups[index] for index in chosen):
        with torch.no_grad():
            outputs = model.test_step(tests.batch(group))
        picture = Image.open(dataset.get_data_info(group[0])['img_path']).convert('RGB')
        width = round(height * min(max(picture.width / picture.height, 0.5), 2))
        links = dataset.metainfo.get('skeleton_links', ())
        truth, predicted = _instances(host, dataset, group, outputs, score_thr)
        pairs.append([draw(picture, (width, height), instances, links) for instances in (truth, predicted)])
    title = f'prediction (score at least {score_thr:g})' if host.sifted else 'prediction'
    out = Path(out).absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    _arrange(pairs, title).save(out)
    return out


def _samples_by_image(dataset: Any) -> list[list[int]]:
    """Indices of the samples of each image; top-down keypoint data has one sample per object."""
    groups = defaultdict(list)
    for index in range(len(dataset)):
        groups[dataset.get_data_info(index)['img_path']].append(index)
    return list(groups.values())


def _instances(
    host: Host, dataset: Any, group: list[int], outputs: Sequence[Any], score_thr: float
) -> tuple[list[Instance], list[Instance]]:
    """The annotated and the predicted objects of an image, the surest last."""
    names = dataset.metainfo.get('classes') or ('',)
    assert host.truth is not None
    assert host.predicted is not None
    truth = [found for index in group for found in host.truth(dataset.get_data_info(index), names)]
    predicted = [found for output in outputs for found in host.predicted(output, names)]
    if not any('masks' in getattr(output, 'pred_instances', ()) for output in outputs):
        for instance in truth:
            instance.mask = None  # the model draws none either
    if host.sifted:
        predicted = [instance for instance in predicted if (instance.score or 0) >= score_thr]
        predicted.sort(key=lambda instance: instance.score or 0)
    return truth, predicted


# ---- layout ---------------------------------------------------------------------------------------------


def _arrange(pairs: list[list[Image.Image]], title: str) -> Image.Image:
    """Put pairs into a grid, under a header that names the two sides."""
    width = max(picture.width for pair in pairs for picture in pair)
    height = pairs[0][0].height
    step = 2 * width + GAP + 2
    columns = min(max(WIDEST // step, 1), len(pairs))
    rows = -(-len(pairs) // columns)
    sheet = Image.new('RGB', (columns * step + GAP, HEADER + rows * (height + GAP)), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for index, pair in enumerate(pairs):
        left, top = GAP + index % columns * step, HEADER + index // columns * (height + GAP)
        for side, picture in enumerate(pair):
            sheet.paste(picture, (left + side * (width + 2) + (width - picture.width) // 2, top))
    for column in range(columns):
        for side, text in enumerate(('ground truth', title)):
            centre = GAP + column * step + side * (width + 2) + width / 2
            pen.text((centre, HEADER / 2), text, fill=(0, 0, 0), font=font(16), anchor='mm')
    return sheet
