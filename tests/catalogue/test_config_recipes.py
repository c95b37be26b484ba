"""The configs of ImageNet and COCO train by the recipes that their comments name."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from inimg_mm.hosts.random_batch import random_batch
from inimg_mm.launch import load_config
from inimg_mm.registry import build_model

pytest.importorskip('mmdet', reason='the configs are of the hosts (extra mm)')
pytest.importorskip('mmpretrain', reason='the configs are of the hosts (extra mm)')

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
TRICKS = CONFIGS / 'imagenet' / 'scnet50-v1d_8xb32_in1k.py'


def ids(path):
    return path.stem


@pytest.mark.parametrize(
    'path',
    sorted(p for p in (CONFIGS / 'imagenet').glob('*.py') if not re.search('inception|ablations', p.name)),
    ids=ids,
)
def test_imagenet(path):
    cfg = load_config(path)
    gpus, images = map(int, re.search(r'_(\d+)xb(\d+)_', path.name).groups())
    assert cfg.train_dataloader.batch_size == images
    assert cfg.auto_scale_lr.base_batch_size == gpus * images
    epochs, lr = (200, 0.1) if path == TRICKS else (100, 0.6 if gpus == 32 else 0.1)
    assert cfg.train_cfg.max_epochs == epochs
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (lr, 0.9, 1e-4)
    if path == TRICKS:
        assert cfg.param_scheduler[-1].end == epochs
    else:
        assert cfg.param_scheduler.milestones == [30, 60, 90]
    assert cfg.model.head.num_classes == 1000
    assert cfg.model.backbone.out_indices == (3,)
    mixup = cfg.model.get('train_cfg', {}).get('augments', {})
    assert ('Mixup' in mixup.get('type', '')) == ('mixup' in path.name or path == TRICKS)


@pytest.mark.slow
@pytest.mark.parametrize(
    'path', sorted(p for task in ('detection', 'instance') for p in (CONFIGS / f'coco_{task}').glob('*.py')),
    ids=ids,
)  # fmt: skip
def test_coco(path):
    cfg = load_config(path)
    epochs = dict(zip(('1x', '2x'), (12, 24), strict=True))[re.search(r'_(\dx)_coco', path.name)[1]]
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.param_scheduler[-1].end == epochs
    assert cfg.optim_wrapper.optimizer.lr == (0.01 if path.name.startswith('retinanet') else 0.02)
    assert cfg.auto_scale_lr.base_batch_size == 16
    masks = [t.get('with_mask', False) for t in cfg.train_dataloader.dataset.pipeline if 'with_bbox' in t]
    assert masks == ['mask' in path.name]
    backbone = cfg.model.backbone
    assert backbone.norm_eval
    warm = backbone.init_cfg.get('warm_start', False)
    assert backbone.frozen_stages == (0 if warm else 1)
    assert warm == bool(re.search('cmpese|ini|warm', path.name))
    paramwise = cfg.optim_wrapper.get('paramwise_cfg')
    assert bool(paramwise) == ('warm' in path.name)


def test_gates_of_the_warm_variant_learn_faster():
    cfg = load_config(CONFIGS / 'coco_detection' / 'faster-rcnn_se-r50-warm_fpn_1x_coco.py')
    model = build_model(cfg)
    rates = {}
    for group in build_optim_wrapper(model, cfg.optim_wrapper).param_groups:
        rates |= {id(parameter): group['lr'] for parameter in group['params']}
    learning = {name: rates[id(p)] for name, p in model.named_parameters() if p.requires_grad}
    gates = {name for name in learning if '.se_layer.' in name}
    assert len(gates) == 4 * 16
    assert {learning[name] for name in gates} == {0.2}
    assert {lr for name, lr in learning.items() if name not in gates} == {0.02}


def test_tricks_smooth_and_mix_labels_and_decay_weights_alone():
    cfg = load_config(TRICKS, {'model.backbone.base_channels': 16, 'model.head.in_channels': 512})
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = build_model(cfg)
        data = model.data_preprocessor(random_batch(cfg, (64, 64), batch_size=8), True)
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    scores = torch.stack([sample.gt_score for sample in data['data_samples']])
    assert torch.allclose(scores.sum(1), torch.ones(8))
    assert scores.max(1).values.min() < 1  # a share of the other image's label
    logits, labels = 3 * torch.randn(8, 1000), torch.arange(8)
    smoothed = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    assert model.head.loss_module(logits, labels).item() == pytest.approx(smoothed.item())

    assert optimizer.defaults['nesterov']
    decays = {id(p): group['weight_decay'] for group in optimizer.param_groups for p in group['params']}
    for name, parameter in model.named_parameters():
        assert decays[id(parameter)] == (1e-4 if parameter.ndim > 1 else 0), name


@pytest.mark.parametrize('value', [0, 255])
def test_tricks_do_not_wrap_bytes_around(value, tmp_path):
    """The host's Lighting does, on bytes: a white sky gets black spots."""
    from mmcv.transforms import Compose
    from PIL import Image

    file = tmp_path / 'plain.png'
    Image.new('RGB', (80, 80), (value,) * 3).save(file)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        from mmpretrain.registry import TRANSFORMS

        pipeline = Compose(
            [TRANSFORMS.build(t) for t in load_config(TRICKS).train_dataloader.dataset.pipeline]
        )
    for _ in range(20):
        pixels = pipeline(dict(img_path=str(file), gt_label=0))['inputs'].float()
        assert pixels.std((1, 2)).max() < 1
        assert (pixels - pixels.mean()).abs().max() < 60
        assert (pixels.mean() > 120) == (value == 255)
