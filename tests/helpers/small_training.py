"""A training that takes seconds: the demo classifier, narrow, with a gate of choice, on 20 images."""

import pytest
import torch

from helpers.tooling import CONFIGS, QUICKEST
from inimg_mm import launch

SE = dict(type='SE')
CMPESE = dict(type='CMPESE', view='folded_3x3', fold=dict(width=16, pad=True))
INNER_IMAGING = dict(
    type='InnerImaging', streams=2, filters=((1, 1), (2, 1), (3, 3)), fold=dict(width=16, pad=True)
)
GATES = [pytest.param(gate, id=gate['type']) for gate in (SE, CMPESE, INNER_IMAGING)]

QUICK = {
    'train_dataloader.batch_size': 8,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
    'train_cfg.max_epochs': 1,
    'model.backbone.type': 'inimg_mm.ResNet',
    'model.backbone.base_channels': 16,
    'model.head.in_channels': 128,
}
STILL = {
    'train_dataloader.dataset.pipeline': [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=64),
        dict(type='PackInputs'),
    ],
    'model.backbone.norm_eval': True,
    'optim_wrapper.clip_grad': None,
    'optim_wrapper.optimizer': dict(type='SGD', lr=0.1, momentum=0.9),
    'param_scheduler': [],
}
"""No chance, no batch statistics, and a step that is linear in the gradient."""


def classifier(work_dir, gate=INNER_IMAGING, **options):
    """The demo classifier, narrow, on 20 images: three iterations an epoch."""
    return launch.load_config(
        CONFIGS[QUICKEST], {**QUICK, 'model.backbone.attention': gate, **options}, work_dir
    )


def checkpoint(cfg, name='epoch_1.pth'):
    return torch.load(f'{cfg.work_dir}/{name}', weights_only=False)


def assert_close(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            value, other[name], msg=lambda text, name=name: f'{name}: {text}', **tolerance
        )
