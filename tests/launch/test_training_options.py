"""What config lines and switches add to a training: averaged weights, accumulation, compiling, rates."""

import copy

import pytest
import torch

pytest.importorskip('mmpretrain', reason='trains the demo classifier (extra mm)')

from helpers.small_training import GATES, STILL, assert_close, checkpoint, classifier
from inimg_mm import launch
from inimg_mm.launch import runs

# ---- averaged weights (EMA) -----------------------------------------------------------------------------

MOMENTUM = 0.25
EMA = dict(custom_hooks=[dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=MOMENTUM)])
TWO_EPOCHS = {
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 2,
    'default_hooks.checkpoint': dict(type='CheckpointHook', by_epoch=False, interval=1),
}


@pytest.fixture(scope='module')
def averaged(folder, tmp_path_factory):
    """Six iterations with averaged weights, in one go, with a checkpoint of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        cfg = classifier(tmp_path_factory.mktemp('ema'), **EMA, **TWO_EPOCHS)
        launch.train(cfg)
    return cfg


@pytest.mark.slow
def test_averaged_weights_are_the_average(averaged):
    """The average is what a checkpoint holds as the model; the weights that learn are beside it."""
    average = None
    for iteration in range(1, 7):
        saved = checkpoint(averaged, f'iter_{iteration}.pth')
        learning = {
            name.removeprefix('module.'): value
            for name, value in saved['ema_state_dict'].items()
            if name.startswith('module.')
        }
        if average is None:
            average = learning
        for name, value in learning.items():
            is_buffer = name.rpartition('.')[2] in ('running_mean', 'running_var', 'num_batches_tracked')
            average[name] = value if is_buffer else torch.lerp(average[name], value, MOMENTUM)
        assert_close(saved['state_dict'], average, rtol=1e-5, atol=1e-6)
    gate = [name for name in average if '.gate.' in name and name.endswith('weight')]
    assert gate
    assert all(not torch.equal(average[name], learning[name]) for name in gate)


@pytest.mark.slow
def test_averaged_weights_resume(averaged, folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    cfg = classifier(tmp_path, **EMA, **TWO_EPOCHS)
    launch.train(cfg, resume=f'{averaged.work_dir}/iter_4.pth')
    resumed, through = checkpoint(cfg, 'iter_6.pth'), checkpoint(averaged, 'iter_6.pth')
    for key in ('state_dict', 'ema_state_dict'):
        assert_close(resumed[key], through[key], rtol=0, atol=0)


@pytest.mark.slow
def test_averaged_weights_are_tested(averaged, folder, monkeypatch, tmp_path):
    """With the hook in the config or without: the average is what computes."""
    monkeypatch.chdir(folder)
    build, seen = runs.build_runner, []

    def watched(*options):
        runner = build(*options)
        runner.model.register_forward_pre_hook(
            lambda model, _: seen.append(copy.deepcopy(model.state_dict()))
        )
        return runner

    monkeypatch.setattr(runs, 'build_runner', watched)
    path = f'{averaged.work_dir}/iter_6.pth'
    metrics = [launch.evaluate(classifier(tmp_path, **lines), path) for lines in (EMA, {})]
    assert metrics[0]['accuracy/top1'] == metrics[1]['accuracy/top1']
    average = checkpoint(averaged, 'iter_6.pth')['state_dict']
    assert len(seen) >= 2
    for state in seen:
        assert_close(state, average, rtol=0, atol=0)


# ---- accumulated gradients ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize('gate', GATES)
def test_two_batches_of_four_are_one_of_eight(folder, monkeypatch, tmp_path, gate):
    monkeypatch.chdir(folder)
    joint = classifier(tmp_path / 'joint', gate, **STILL)
    parts = classifier(
        tmp_path / 'parts',
        gate,
        **STILL,
        **{'train_dataloader.batch_size': 4, 'optim_wrapper.accumulative_counts': 2},
    )
    alone = classifier(tmp_path / 'alone', gate, **STILL, **{'train_dataloader.batch_size': 4})
    states = []
    for cfg in (joint, parts, alone):
        launch.train(cfg)
        states.append(checkpoint(cfg)['state_dict'])
    assert_close(states[0], states[1], rtol=1e-4, atol=1e-6)
    with pytest.raises(AssertionError):
        assert_close(states[0], states[2], rtol=1e-4, atol=1e-6)


# ---- compiling ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_compiled_step_is_the_same_and_holds_the_gates(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    graphs = []

    def counting(graph, inputs):
        graphs.append([getattr(node.target, '__name__', str(node.target)) for node in graph.graph.nodes])
        return graph.forward

    one_step = {**STILL, 'train_dataloader.batch_size': 20}
    plain, compiled = (classifier(tmp_path / name, **one_step) for name in ('plain', 'compiled'))
    launch.train(plain)
    torch._dynamo.register_backend(counting, name='counting')
    launch.train(compiled, compiler='counting')
    assert_close(checkpoint(plain)['state_dict'], checkpoint(compiled)['state_dict'], rtol=1e-4, atol=1e-6)
    (forward,) = [graph for graph in graphs if 'conv2d' in graph]  # the gates break no graph
    assert forward.count('sigmoid') == 8  # one a block


# ---- learning rates -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_rates_by_batch_and_by_layer(folder, monkeypatch, tmp_path):
    """Half the batch that the rate is for, and 0.9 times it for each block further from the head."""
    monkeypatch.chdir(folder)
    cfg = classifier(
        tmp_path,
        **STILL,
        **{
            'auto_scale_lr': dict(base_batch_size=16),
            'optim_wrapper.constructor': 'inimg_mm.LayerDecayOptimWrapperConstructor',
            'optim_wrapper.paramwise_cfg': dict(decay_rate=0.9),
        },
    )
    launch.train(cfg, auto_scale_lr=True)
    rates = {group['lr'] for group in checkpoint(cfg)['optimizer']['param_groups']}
    assert sorted(rates) == pytest.approx([0.05 * 0.9**layer for layer in range(9, -1, -1)])
