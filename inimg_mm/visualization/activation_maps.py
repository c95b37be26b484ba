"""Where a net looks: Grad-CAM, a classifier's head at every place, and SCNet's calibration."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.device import get_device
from torch import Tensor, nn

from inimg_mm.data_files.image_files import as_picture
from inimg_mm.errors import UsageError
from inimg_mm.host_facts import predicts
from inimg_mm.hosts import HOSTS
from inimg_mm.inference.weights import checked_weights

from .calibration import recorded_calibration

DRAWN = tuple(scope for scope in HOSTS if predicts(scope) in ('classes', 'boxes'))
"""The hosts whose models have a score of a class."""


@dataclass
class Maps:
    """What is drawn of one net and one picture; the maps are (h, w), of any size.

    Attributes:
        picture: As the net is given it: RGB, (H, W, 3) uint8.
        caption: The class that is looked for, with its score, or what there is instead.
        cam: Grad-CAM of its score, from 0 to 1; None where a detector finds nothing.
        box: Of a detector: left, top, right, bottom in pixels of ``picture``.
        whole: Of a classifier: the whole picture, which ``places`` belongs to.
        places: Of a classifier: probability of the class by its head at every place of the last map.
        calibration: Of an SCNet, by stage: the mean over channels of its last block's sigmoid.
    """

    picture: np.ndarray
    caption: str = ''
    cam: np.ndarray | None = None
    box: list[float] | None = None
    whole: np.ndarray | None = None
    places: np.ndarray | None = None
    calibration: dict[str, np.ndarray] = field(default_factory=dict)


class Viewed:
    """A trained net that is looked into.

    Args:
        cfg: Config of mmpretrain or mmdet.
        checkpoint: Weights of its model.
        name: What the net is called.
        layer: Name of the module whose output Grad-CAM weighs. Default: the backbone's last stage.
        trust: Accept a checkpoint that needs unpickling.

    Raises:
        UsageError: If the config is of another host, the checkpoint of another model, or there is no such
            layer.
        CheckpointError: If the checkpoint is missing, damaged, or would run code.
    """

    def __init__(
        self, cfg: Config, checkpoint: str, name: str, layer: str | None = None, trust: bool = False
    ) -> None:
        scope = cfg.default_scope
        if scope not in DRAWN:
            raise UsageError(
                f'activations are drawn of models of {", ".join(DRAWN)}, and {name} is of {scope}'
            )
        check_grad_cam()
        self.name, self.is_detector = name, predicts(scope) == 'boxes'
        with checked_weights(cfg, checkpoint, trust) as (weights, meta):
            self.host = HOSTS[scope].inferencer(cfg, weights, meta, get_device())
        self.model: Any = self.host.inferencer.model
        self.classes: tuple[str, ...] = tuple(meta['classes'])
        self.shorter = min(HOSTS[scope].input_size(cfg))
        self.layer = _layer(self.model, layer, name)

    def look(self, path: Path, wanted: str | None = None) -> Maps:
        """Look at a picture.

        Args:
            path: The picture.
            wanted: Name of the class. Default: the one with the highest score.

        Raises:
            UnreadableImage: If the picture cannot be read.
            UsageError: If the net knows no such class.
        """
        label = self._label(wanted)
        loaded = self.host.load(path)
        with self.host.within():
            item = self.host.prepare(loaded)
            batch = (pseudo_collate if self.is_detector else default_collate)([item])
            inputs = self.model.data_preprocessor(batch, False)
            picture = as_picture(item['inputs'].permute(1, 2, 0).numpy())
            with recorded_calibration(self.model) as calibration, torch.no_grad():
                self._scores(inputs).forward(inputs['inputs'])
            maps = self._detected(inputs, picture, label) if self.is_detector else None
            maps = maps or self._classified(inputs, picture, label, loaded['img'])
        maps.calibration = {stage: _cut(found, inputs, picture) for stage, found in calibration.items()}
        return maps

    def _label(self, wanted: str | None) -> int | None:
        if wanted is not None and wanted not in self.classes:
            shown = ', '.join(self.classes[:20]) + (', …' if len(self.classes) > 20 else '')
            raise UsageError(f'{self.name} knows no class {wanted!r}; choose from {shown}')
        return None if wanted is None else self.classes.index(wanted)

    def _scores(self, inputs: Mapping[str, Any]) -> '_Scores':
        return (_BoxScores if self.is_detector else _Scores)(self.model, inputs['data_samples'])

    def _classified(
        self, inputs: Mapping[str, Any], picture: np.ndarray, label: int | None, image: np.ndarray
    ) -> Maps:
        scores = self._scores(inputs)
        with torch.no_grad():
            probabilities = scores(inputs['inputs'])[0].softmax(0)
        label = int(probabilities.argmax()) if label is None else label
        whole = mmcv.imrescale(image, (self.shorter, 10**6))
        pixels = torch.from_numpy(np.ascontiguousarray(whole)).permute(2, 0, 1)
        with torch.no_grad():
            everywhere = at_every_place(
                self.model, self.model.data_preprocessor(dict(inputs=pixels[None]), False)['inputs']
            )
        return Maps(
            picture,
            f'{self.classes[label]} {probabilities[label]:.2f}',
            _cut(grad_cam(scores, self.layer, inputs['inputs'], label), inputs, picture),
            whole=as_picture(whole),
            places=everywhere.softmax(1)[0, label].cpu().numpy(),
        )

    def _detected(self, inputs: Mapping[str, Any], picture: np.ndarray, label: int | None) -> Maps:
        scores = self._scores(inputs)
        with torch.no_grad():
            found = scores(inputs['inputs'])[0]
        fits = [i for i, each in enumerate(scores.labels) if label in (None, each)]
        if not fits:
            return Maps(picture, 'no box' if label is None else f'no box of {self.classes[label]}')
        best = max(fits, key=lambda index: float(found[index]))
        caption, box = f'{self.classes[scores.labels[best]]} {found[best]:.2f}', scores.boxes[best]
        cam = grad_cam(scores, self.layer, inputs['inputs'], best)
        return Maps(picture, caption, _cut(cam, inputs, picture), box)


class _Scores(nn.Module):
    """A classifier as Grad-CAM wants it: from images to the classes' scores, (1, classes)."""

    def __init__(self, model: Any, samples: Any) -> None:
        super().__init__()
        self.model, self.samples = model, samples
        self.labels: list[int] = []
        self.boxes: list[list[float]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs, mode='tensor')


class _BoxScores(_Scores):
    """A detector: from an image to the scores of its boxes, (1, boxes), which it keeps with their classes."""

    def forward(self, inputs: Tensor) -> Tensor:
        with _attached_scores():
            found = self.model.predict(inputs, self.samples, rescale=False)[0].pred_instances
        if torch.is_grad_enabled() and not found.scores.requires_grad:
            kind = type(self.model).__name__
            raise UsageError(
                f'{kind} cuts its scores off from its features: there is no Grad-CAM of its boxes'
            )
        self.labels, self.boxes = found.labels.tolist(), found.bboxes.detach().tolist()
        return found.scores[None]


@contextmanager
def _attached_scores() -> Iterator[None]:
    """Keep the gradient of what mmdet's one-stage heads predict, which they cut off from each image."""
    from mmdet.models.dense_heads import base_dense_head

    select = base_dense_head.select_single_mlvl

    def attached(tensors: list[Tensor], image: int, detach: bool = True) -> list[Tensor]:
        return select(tensors, image, detach=detach and not torch.is_grad_enabled())

    with patch.object(base_dense_head, 'select_single_mlvl', attached):
        yield


def grad_cam(scores: nn.Module, layer: nn.Module, inputs: Tensor, index: int) -> np.ndarray:
    """Grad-CAM (Selvaraju et al., arXiv 1610.02391) by the package ``grad-cam``.

    No parameter gets a gradient, and nothing is left hooked.

    Args:
        scores: From ``inputs`` to scores, (1, K).
        layer: The module whose output is weighed.
        inputs: (1, 3, H, W).
        index: Which of the K scores.

    Returns:
        (H, W), from 0 to 1.
    """
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with _without_gradients(scores), torch.enable_grad(), GradCAM(scores, [layer]) as cam:
        return cam(inputs.detach().clone().requires_grad_(True), [ClassifierOutputTarget(index)])[0]


def at_every_place(classifier: Any, inputs: Tensor) -> Tensor:
    """Apply a classifier's head at every place of its last map (the convolutional classifier of FCN).

    Args:
        classifier: A model of mmpretrain whose neck, or head, pools.
        inputs: Prepared images of any size, (1, 3, H, W).

    Returns:
        The classes' scores, (1, classes, h, w); of a linear head their mean is the score of the whole image.
    """
    last = classifier.backbone(inputs)[-1]
    height, width = last.shape[2:]
    each = last[0].flatten(1).T[..., None, None].contiguous()
    features = classifier.neck((each,)) if classifier.with_neck else (each,)
    return classifier.head(features).T.reshape(1, -1, height, width)


@contextmanager
def _without_gradients(model: nn.Module) -> Iterator[None]:
    """Spare the parameters gradients; what needs one is asked through the inputs."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _cut(values: np.ndarray, inputs: Mapping[str, Any], picture: np.ndarray) -> np.ndarray:
    """What of a map over the padded image lies over the picture."""
    padded = inputs['inputs'].shape[2:]
    ends = (
        max(round(have * seen / whole), 1)
        for have, seen, whole in zip(values.shape, picture.shape, padded, strict=False)
    )
    return values[tuple(slice(end) for end in ends)]


def _layer(model: Any, name: str | None, net: str) -> nn.Module:
    if name is None:
        stages = getattr(model.backbone, 'stage_names', None) or getattr(model.backbone, 'res_layers', None)
        if not stages:
            raise UsageError(
                f'the backbone of {net} does not say what its last stage is: name it with --layer'
            )
        name = f'backbone.{stages[-1]}'
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        parts = ', '.join(f'backbone.{part}' for part, _ in model.backbone.named_children())
        raise UsageError(f'{net} has no layer {name!r}; its backbone has {parts}') from error


def check_grad_cam() -> None:
    """Raise a :class:`UsageError` if the package grad-cam is not installed."""
    try:
        import pytorch_grad_cam  # noqa: F401
    except ImportError as error:
        raise UsageError(f"Grad-CAM needs grad-cam: pip install 'inimg-mm[bench]' ({error})") from error
