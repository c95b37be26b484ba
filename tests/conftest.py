"""What the tests share: one thread, fixed seeds, tiny nets and random states."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

pytest.register_assert_rewrite('helpers.tooling', 'helpers.small_training')
from helpers.tooling import use_cpu  # noqa: E402

PRINT_ARGUMENTS = '#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done\n'

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    np.random.seed(0)


SCOPES = dict(DefaultScope._instance_dict)
"""mmengine's default scopes before any test."""


@pytest.fixture(autouse=True)
def default_scope():
    """Keep the host that a test, or what several share, makes mmengine's default from reaching another."""

    def reset():
        DefaultScope._instance_dict.clear()
        DefaultScope._instance_dict.update(SCOPES)

    reset()
    yield
    reset()


@pytest.fixture
def on_cpu(monkeypatch):
    """Have a test and the processes that it starts use the CPU, on a machine with a GPU too."""
    use_cpu(monkeypatch)


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
    """A working folder with a tiny demo set at data/demo, where the demo configs look for it."""
    pytest.importorskip('sklearn', reason='the demo data needs scikit-learn (extra demo)')
    pytest.importorskip('skimage', reason='the demo data needs scikit-image (extra demo)')
    from inimg_mm.datasets.demo import make_demo_data

    folder = tmp_path_factory.mktemp('tools')
    counts = dict(num_train=16, num_val=4, num_class_train=2, num_class_val=1)
    make_demo_data(folder / 'data' / 'demo', **counts, progress=False)
    return folder


SEGMENTATION = """
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(96, 96),
    ),
    backbone=dict(type='inimg_mm.SEResNet', depth=18, base_channels=16, stem_channels=16),
    decode_head=dict(
        type='FCNHead',
        in_channels=128,
        in_index=3,
        channels=16,
        num_convs=1,
        concat_input=False,
        num_classes=3,
        norm_cfg=dict(type='BN'),
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        data_root=DATA_ROOT,
        data_prefix=dict(img_path='images', seg_map_path='maps'),
        metainfo=dict(classes=('sky', 'cat', 'dog'), palette=[[0, 0, 255], [255, 0, 0], [0, 255, 0]]),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(128, 96), keep_ratio=True),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')
visualizer = dict(type='SegLocalVisualizer', name='visualizer')
"""


@pytest.fixture
def segmentation(tmp_path):
    """A tiny mmseg config, with two test images of its own in subfolders."""
    pytest.importorskip('mmseg', reason='semantic segmentation needs mmseg (extra seg)')
    from PIL import Image

    root, random = tmp_path / 'segmentation', np.random.default_rng(0)
    for name, size in (('a/1', (60, 80, 3)), ('b/1', (64, 48, 3))):
        for kind, suffix, values in (
            ('images', 'jpg', random.integers(0, 256, size)),
            ('maps', 'png', random.integers(0, 3, size[:2])),
        ):
            path = root / kind / f'{name}.{suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(path)
    config = tmp_path / 'fcn_digits.py'
    config.write_text(SEGMENTATION.replace('DATA_ROOT', repr(str(root))))
    return config


@pytest.fixture(scope='session')
def untrained(tmp_path_factory):
    """Checkpoints of the demo configs' models as they are built, by config."""
    from inimg_mm import launch
    from inimg_mm.registry import build_model

    folder, made = tmp_path_factory.mktemp('untrained'), {}

    def checkpoint(config):
        path = folder / f'{Path(config).stem}-{len(made)}.pth'
        if config not in made:
            torch.manual_seed(0)
            torch.save({'state_dict': build_model(launch.load_config(config)).state_dict()}, path)
            made[config] = path
        return made[config]

    return checkpoint


@pytest.fixture
def photo(tmp_path):
    """A photo of smooth colours, 90 x 60 pixels, without loss."""
    from PIL import Image

    y, x = np.mgrid[:60, :90]
    path = tmp_path / 'photos' / 'one.png'
    path.parent.mkdir()
    Image.fromarray(np.stack([2 * x, 3 * y, x + y], axis=-1).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def infer_tool(monkeypatch, tmp_path):
    """Run tools/infer.py in this process, with results in out/; returns the exit status."""
    from helpers.tooling import call_tool

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            call_tool(monkeypatch, 'infer.py', '--out-dir', tmp_path / 'out', '--device', 'cpu', *arguments)
        return stop.value.code

    return run


@pytest.fixture
def quickly(monkeypatch):
    """Leave out what takes a runner of a toy model most of its time.

    That is tidying its config, looking at the machine, and pauses.
    """
    from mmengine.config import Config
    from mmengine.runner import FlexibleRunner, Runner

    monkeypatch.setattr(Config, 'pretty_text', property(lambda cfg: ''))
    for runner in (Runner, FlexibleRunner):
        monkeypatch.setattr(runner, '_log_env', lambda *args: None)
    monkeypatch.setattr('mmengine.dataset.base_dataset.gc.collect', lambda: None)
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put programs before all others on PATH."""
    folder = tmp_path / 'bin with spaces'
    folder.mkdir()
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    for name in ('PYTHON', 'NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'RDZV_BACKEND', 'RDZV_ID'):
        monkeypatch.delenv(name, raising=False)
    for name in ('GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK', 'SRUN_ARGS'):
        monkeypatch.delenv(name, raising=False)

    def make(name, text=PRINT_ARGUMENTS):
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    return make
