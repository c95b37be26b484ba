"""The VOC configs train and test on files laid out as VOC's; their norms are synchronised where GPUs are."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.model import convert_sync_batchnorm, revert_sync_batchnorm
from PIL import Image
from torch import nn

from inimg_mm.config_tree import nodes
from inimg_mm.launch import load_config
from inimg_mm.registry import build_model

pytest.importorskip('mmseg', reason='the configs are of mmseg (extra seg)')

ROOT = Path(__file__).resolve().parents[2]
VOC = ROOT / 'configs' / 'voc_semantic'
SIZES = [(80, 60), (60, 80), (97, 65), (50, 50), (64, 64), (70, 90)]
"""Width and height of the pictures."""


@pytest.fixture
def voc(tmp_path):
    """A folder like VOCdevkit/VOC2012 with six small pictures of noise."""
    rng = np.random.default_rng(0)
    for folder in ('JPEGImages', 'SegmentationClass', 'SegmentationClassAug', 'ImageSets/Segmentation'):
        (tmp_path / folder).mkdir(parents=True)
    splits = {
        'train': ('SegmentationClass', []),
        'aug': ('SegmentationClassAug', []),
        'val': ('SegmentationClass', []),
    }
    for index, (width, height) in enumerate(SIZES):
        folder, names = list(splits.values())[index // 2]
        names.append(f'{index}')
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(
            tmp_path / 'JPEGImages' / f'{index}.jpg'
        )
        classes = rng.choice([*range(21), 255], (height, width)).astype(np.uint8)
        Image.fromarray(classes).save(tmp_path / folder / f'{index}.png')
    for split, (_, names) in splits.items():
        (tmp_path / 'ImageSets' / 'Segmentation' / f'{split}.txt').write_text('\n'.join(names))
    return tmp_path


def small(name, data_root=None, **options):
    """A config of the zoo with a quarter of its backbone's width and crops of 64 pixels."""
    cfg = load_config(VOC / f'{name}_voc12aug-512x512.py', options)
    cfg.model.backbone.update(base_channels=16, init_cfg=None)
    for head in (cfg.model.decode_head, cfg.model.get('auxiliary_head') or {}):
        wide = head.get('in_channels', [])
        head['in_channels'] = [c // 4 for c in wide] if isinstance(wide, list) else wide // 4
        if 'channels' in head:
            head['channels'] = 16
    for node in nodes([cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader]):
        if 'data_root' in node:
            node['data_root'] = str(data_root)
        for key, value in (('crop_size', (64, 64)), ('size', (64, 64)), ('scale', (256, 64))):
            if key in node:
                node[key] = value
    return cfg


def train(cfg, folder, processes=1):
    file = folder / 'small.py'
    cfg.merge_from_dict(
        {
            'work_dir': str(folder / 'work'),
            'train_cfg.max_iters': 2,
            'train_cfg.val_interval': 2,
            'default_hooks.checkpoint.interval': 2,
            'default_hooks.logger.interval': 1,
        }
    )
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].update(num_workers=0, persistent_workers=False)
    cfg.dump(file)
    command = [sys.executable, '-W', 'ignore']
    if processes > 1:
        command += ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
    command += [str(ROOT / 'tools' / 'train.py'), str(file)] + ['--launcher', 'pytorch'] * (processes > 1)
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures('on_cpu')
@pytest.mark.parametrize(
    ('name', 'processes'),
    [('fcn-8s_scnet50_4xb4-20k', 2), ('pspnet_ini-r50-d8_4xb4-40k', 1)],
)
def test_trains_on_files(name, processes, voc):
    cfg = small(name, voc)
    said = train(cfg, voc, processes)
    assert 'mIoU' in said
    assert 'Iter(train) [2/2]' in said
    assert ("sync_bn='torch' needs GPUs" in said) is (processes > 1)
    state = torch.load(voc / 'work' / 'iter_2.pth', weights_only=False)['state_dict']
    model = build_model(cfg)
    model.load_state_dict(state)
    assert all(value.isfinite().all() for value in state.values())


@pytest.mark.parametrize(
    'name', ['fcn_ini-r50-d8_4xb4-20k', 'pspnet_scnet50-d8_4xb4-20k', 'fcn-8s_ini-r50_4xb4-20k']
)
def test_norms_are_synchronised_where_several_gpus_train(name):
    cfg = small(name)
    model = build_model(cfg)
    norms = [name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    parameters = dict(model.named_parameters())
    assert any('decode_head' in name for name in norms) == ('fcn-8s' not in cfg.filename)
    assert any('.gate.' in name for name in norms) == ('ini-r50' in cfg.filename)

    model = convert_sync_batchnorm(model, cfg.sync_bn)  # mmengine's, in a run of several processes
    assert [name for name, m in model.named_modules() if isinstance(m, nn.SyncBatchNorm)] == norms
    assert all(parameters[name] is p for name, p in model.named_parameters())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    model = revert_sync_batchnorm(model)  # mmengine's, in a run of one
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())


@pytest.mark.parametrize('path', sorted(VOC.glob('*.py')), ids=lambda path: path.stem)
def test_one_file_for_every_machine(path):
    cfg = load_config(path)
    kinds = {getattr(node.get('type'), '__name__', node.get('type')) for node in nodes(cfg.model)}
    assert cfg.sync_bn == 'torch'
    assert not kinds & {'SyncBN', 'MMSyncBN', 'SyncBatchNorm'}
    assert cfg.auto_scale_lr.base_batch_size == 4 * cfg.train_dataloader.batch_size == 16


@pytest.mark.parametrize('path', sorted(VOC.glob('*-d8_*.py')), ids=lambda path: path.stem)
def test_stride_8(path):
    backbone = build_model(small(path.stem.removesuffix('_voc12aug-512x512'))).backbone
    assert backbone.out_strides == (4, 8, 8, 8)
    dilations = {
        c.dilation[0] for block in backbone.layer4 for c in block.modules() if isinstance(c, nn.Conv2d)
    }
    assert dilations == {1, 2, 4}  # 1x1; the first block's 3x3, whose input has dilation 2; the others'
