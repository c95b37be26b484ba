"""Trainings with :class:`CUDAGraphHook`: those without it, bit by bit; and what it refuses."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from torch import nn

from helpers.graphs import ToyClassifier
from helpers.toy_training import assert_same, config, interrupted, state, train, validated
from inimg_mm.engine.hooks import CUDAGraphHook
from inimg_mm.engine.hooks.cuda_graph import obstacles
from inimg_mm.engine.hooks.cuda_graph.obstacles import backbone_to_record
from inimg_mm.errors import UsageError
from inimg_mm.models import backbones

BACKBONE = dict(type='inimg_mm.SEResNet', depth=18, base_channels=4, stem_channels=4, out_indices=(0,))


@pytest.fixture(
    params=[
        'EagerGraphHook',
        pytest.param(
            'inimg_mm.CUDAGraphHook', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
        ),
    ]
)
def hook(request, monkeypatch):
    """The hook with a stand-in for the recording, and on a GPU."""
    request.getfixturevalue('quickly')
    if request.param == 'EagerGraphHook':
        request.getfixturevalue('on_cpu')
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    return request.param


def training(folder, *hooks, **options):
    cfg = config(folder, **{'model': dict(type='ToyClassifier', backbone=BACKBONE), **options})
    cfg.custom_hooks = [*cfg.custom_hooks, *(dict(type=hook) for hook in hooks)]
    return cfg


def graph_of(runner):
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, CUDAGraphHook))
    return hook.graphed.graph


@pytest.mark.parametrize(
    'options', [dict(), dict(optim_wrapper=dict(accumulative_counts=2))], ids=['plain', 'accumulated']
)
def test_a_training_is_the_eager_one_also_when_it_is_resumed(tmp_path, hook, options):
    """An epoch's last batch is smaller, and runs eagerly; a validation and averaged weights come between."""
    averaged = [dict(type='EMAHook', momentum=0.1)]

    def run(name, *hooks, stops=()):
        cfg = validated(training(tmp_path / name, *hooks, **options))
        cfg.custom_hooks += averaged
        return interrupted(cfg, stops) if stops else train(cfg)

    graph = graph_of(run('graph', hook))
    assert graph.replays - 1 == 3 * 3 - 1
    run('eager')
    run('resumed', hook, stops=[5, 9])
    for name in ('graph', 'resumed'):
        assert_same(state(tmp_path / 'eager', 'epoch_3.pth'), state(tmp_path / name, 'epoch_3.pth'))


@pytest.fixture
def process_group(tmp_path, hook, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    store = f'file://{tmp_path}/store'
    backend = 'gloo' if hook == 'EagerGraphHook' else 'nccl'
    torch.distributed.init_process_group(backend, init_method=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@MODEL_WRAPPERS.register_module()
class CountingDDP(MMDistributedDataParallel):
    """Counts the gradients that DDP waits for, and averages them over the one process."""

    def __init__(self, *args, **options):
        super().__init__(*args, **{**options, 'device_ids': None, 'gradient_as_bucket_view': True})
        self.counts = []
        self.register_comm_hook(self.counts, self.count)

    @staticmethod
    def count(counts, bucket):
        counts.append(len(bucket.gradients()))
        device = bucket.buffer().device
        future = torch.futures.Future(devices=[device] if device.type == 'cuda' else None)
        future.set_result(bucket.buffer())
        return future


@pytest.mark.usefixtures('process_group')
def test_under_ddp(tmp_path, hook):
    """The model is wrapped before any hook is there; its gradients pass through DDP's buckets."""
    train(training(tmp_path / 'eager'))
    wrapper = dict(type='CountingDDP')
    runner = train(training(tmp_path / 'graph', hook, launcher='pytorch', model_wrapper_cfg=wrapper))
    assert graph_of(runner).replays > 5
    learning = sum(1 for parameter in runner.model.parameters() if parameter.requires_grad)
    assert sum(runner.model.counts) == 12 * learning
    assert_same(state(tmp_path / 'eager', 'epoch_3.pth'), state(tmp_path / 'graph', 'epoch_3.pth'))


# ---- refused --------------------------------------------------------------------------------------------


def runner_of(model, **cfg):
    return SimpleNamespace(model=model, cfg=cfg)


def small(**options):
    return ToyClassifier({**BACKBONE, **options})


def hooked():
    model = small()
    model.backbone.layer1[1].bn2.register_forward_hook(lambda *_: None)
    return model


def dropping():
    model = small()
    model.backbone.layer1[1].relu = nn.Sequential(nn.ReLU(), nn.Dropout(0.1))
    return model


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (lambda: nn.Linear(1, 1), 'records model.backbone, and Linear has none'),
        (
            lambda: small(with_cp=True),
            'cannot record what is recomputed in the backward pass (backbone.layer1.0 and 1 more)',
        ),
        (
            hooked,
            'has a hook, a parametrization or a forward of its own (backbone.layer1.1.bn2): remove that',
        ),
        (dropping, 'draws random numbers in every step (backbone.layer1.1.relu.1): set its rate to 0'),
        (
            lambda: small(drop_path_rate=0.2),
            'draws random numbers in every step (backbone.layer1.1.drop_path)',
        ),
        (
            lambda: small(
                type='inimg_mm.PyramidNet',
                depth=14,
                alpha=12,
                stem_channels=16,
                out_indices=(0, 1, 2),
                shake_drop=0.5,
            ),
            'draws random numbers in every step (backbone.layer1.0.drop_path and 5 more)',
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused(model, message):
    with pytest.raises(UsageError, match='CUDAGraphHook.*: .*leave the hook out of custom_hooks') as refusal:
        backbone_to_record(runner_of(model()))
    assert message in str(refusal.value)
    assert '\n' not in str(refusal.value)


def test_synchronised_norms_of_several_processes_are_refused(monkeypatch):
    model = nn.SyncBatchNorm.convert_sync_batchnorm(small())
    assert backbone_to_record(runner_of(model)) is model.backbone
    monkeypatch.setattr(obstacles, 'get_world_size', lambda: 2)
    with pytest.raises(
        UsageError, match=r'waits for the statistics of other processes \(backbone.bn1 and .* more\)'
    ):
        backbone_to_record(runner_of(model))
    model.backbone.norm_eval = True
    assert backbone_to_record(runner_of(model)) is model.backbone


def test_compiled_wrapped_and_globally_hooked_models_are_refused(monkeypatch):
    with pytest.raises(UsageError, match='compile'):
        backbone_to_record(runner_of(small(), compile=dict(backend='eager')))
    monkeypatch.setattr(obstacles, 'is_model_wrapper', lambda model: isinstance(model, backbones.ResNet))
    with pytest.raises(UsageError, match='takes no model in SEResNet'):
        backbone_to_record(runner_of(small()))
    monkeypatch.undo()
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        with pytest.raises(UsageError, match='registered for every module'):
            backbone_to_record(runner_of(small()))
    finally:
        handle.remove()


def test_without_a_gpu_it_is_refused():
    with pytest.raises(UsageError, match='needs a CUDA device, and the model is on cpu'):
        CUDAGraphHook().before_train(runner_of(small()))
