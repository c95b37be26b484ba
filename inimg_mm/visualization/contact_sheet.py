"""A contact sheet: what is annotated beside what a model predicts."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DATASETS, FUNCTIONS, MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from PIL import Image, ImageDraw

from inimg_mm.checkpoints.reading import check_checkpoint
from inimg_mm.data_files.checks import check_data
from inimg_mm.drawing import Instance, draw, font
from inimg_mm.hosts.mmdet import _detection_predicted, _detection_truth
from inimg_mm.hosts.mmpose import _keypoint_predicted, _keypoint_truth
from inimg_mm.hosts.mmpretrain import _class_predicted, _class_truth

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
        ValueError: If the config's host is another one, the data or the checkpoint is missing, or a
            number is not positive.
    """
    scope = cfg.get('default_scope')
    if scope not in HOSTS:
        raise ValueError(f'contact sheets are drawn for {", ".join(HOSTS)}, and not for {scope!r}')
    check_checkpoint(str(checkpoint), trust)
    check_data(cfg, ['test_dataloader'])
    if min(num_images, height) < 1:
        raise ValueError(f'num_images and height must be at least 1, got {num_images} and {height}')
    init_default_scope(scope)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    collate = FUNCTIONS.get(cfg.test_dataloader.get('collate_fn', dict(type='pseudo_collate'))['type'])
    model = _load_model(cfg, checkpoint)
    groups = _samples_by_image(dataset)
    chosen = np.linspace(0, len(groups) - 1, min(num_images, len(groups))).round().astype(int)
    pairs = []
    for group in (groups[index] for index in chosen):
        with torch.no_grad():
            outputs = model.test_step(collate([dataset[index] for index in group]))
        picture = Image.open(dataset.get_data_info(group[0])['img_path']).convert('RGB')
        width = round(height * min(max(picture.width / picture.height, 0.5), 2))
        links = dataset.metainfo.get('skeleton_links', ())
        truth, predicted = _instances(HOSTS[scope], dataset, group, outputs, score_thr)
        pairs.append([draw(picture, (width, height), instances, links) for instances in (truth, predicted)])
    title = f'prediction (score at least {score_thr:g})' if scope == 'mmdet' else 'prediction'
    out = Path(out).absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    _arrange(pairs, title).save(out)
    return out


def _load_model(cfg: Config, checkpoint: str | Path) -> Any:
    model = MODELS.build(cfg.model).to(get_device())
    load_checkpoint(model, str(checkpoint), map_location='cpu')
    return model.eval()


def _samples_by_image(dataset: Any) -> list[list[int]]:
    """Indices of the samples of each image; top-down keypoint data has one sample per object."""
    groups = defaultdict(list)
    for index in range(len(dataset)):
        groups[dataset.get_data_info(index)['img_path']].append(index)
    return list(groups.values())


# ---- what each host calls its annotations and predictions -----------------------------------------------


class Host(NamedTuple):
    """Reads the objects out of a sample's annotation, and out of a model's output for it."""

    truth: Callable[[dict[str, Any], Sequence[str]], list[Instance]]
    predicted: Callable[[Any, Sequence[str]], list[Instance]]


def _instances(
    host: Host, dataset: Any, group: list[int], outputs: Sequence[Any], score_thr: float
) -> tuple[list[Instance], list[Instance]]:
    """The annotated and the predicted objects of an image, the surest last."""
    names = dataset.metainfo.get('classes') or ('',)
    truth = [found for index in group for found in host.truth(dataset.get_data_info(index), names)]
    predicted = [found for output in outputs for found in host.predicted(output, names)]
    if not any('masks' in getattr(output, 'pred_instances', ()) for output in outputs):
        for instance in truth:
            instance.mask = None  # the model draws none either
    if host is HOSTS['mmdet']:
        predicted = [instance for instance in predicted if (instance.score or 0) >= score_thr]
        predicted.sort(key=lambda instance: instance.score or 0)
    return truth, predicted


HOSTS = {
    'mmdet': Host(_detection_truth, _detection_predicted),
    'mmpretrain': Host(_class_truth, _class_predicted),
    'mmpose': Host(_keypoint_truth, _keypoint_predicted),
}


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
