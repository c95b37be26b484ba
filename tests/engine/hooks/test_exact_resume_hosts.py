"""Exact resuming with the hosts' data sets, pipelines and samplers, and with several processes."""

import multiprocessing
import socket

import pytest
import torch

from helpers.tooling import CONFIGS
from helpers.toy_training import assert_same, config, differs, interrupted, state, train, train_as_rank
from inimg_mm.launch import load_config
from inimg_mm.launch.added_hooks import resume_exactly

pytestmark = pytest.mark.usefixtures('quickly')


@pytest.mark.parametrize(
    ('name', 'host'),
    [
        ('se-r18_digits', 'mmpretrain'),
        ('td-hm_se-r18_digits-96x96', 'mmpose'),
        pytest.param('mask-rcnn_ini-r18_fpn_digits', 'mmdet', marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures('on_cpu')
def test_demo_configs(folder, monkeypatch, tmp_path, name, host):
    """The hosts' data sets, pipelines and samplers, in a worker that persists."""
    pytest.importorskip(host, reason=f'the config needs {host}')
    monkeypatch.chdir(folder)

    def demo(work_dir, exact=True):
        options = {
            'train_dataloader.batch_size': 3,
            'train_dataloader.dataset.indices': 9,
            'train_cfg.max_epochs': 2,
            'train_cfg.val_interval': 9,
            'val_cfg': None,
            'val_dataloader': None,
            'val_evaluator': None,
            'default_hooks.checkpoint.by_epoch': False,
            'default_hooks.checkpoint.interval': 1,
            'default_hooks.checkpoint.max_keep_ckpts': 2,
            'randomness.deterministic': True,
            'log_level': 'ERROR',
        }
        cfg = load_config(CONFIGS[name], options, work_dir)
        cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
        for transform in cfg.train_dataloader.dataset.pipeline:
            if 'Flip' in transform['type']:
                transform['prob'] = 0.5
        if exact:
            resume_exactly(cfg)
        return cfg

    whole = train(demo(tmp_path / 'a'))
    stops = [whole.iter // 2 - 1, (whole.iter // 2 + 1, 'begin')]
    assert interrupted(demo(tmp_path / 'b'), stops).iter == whole.iter
    last = f'iter_{whole.iter}.pth'
    assert_same(state(tmp_path / 'a', last), state(tmp_path / 'b', last))
    interrupted(demo(tmp_path / 'c', exact=False), stops)
    newest = (tmp_path / 'c' / 'last_checkpoint').read_text()
    assert differs(state(tmp_path / 'a', last), state(tmp_path / 'c', newest))


@pytest.fixture(autouse=True)
def _not_deterministic_afterwards():
    yield
    torch.use_deterministic_algorithms(False)


def train_on_two(cfg, stop=None, resume=False):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    # a fork is quicker, and cannot be had of a process that uses a GPU
    context = multiprocessing.get_context('spawn' if torch.cuda.is_initialized() else 'fork')
    arguments = [(rank, port, cfg.to_dict(), stop, resume) for rank in range(2)]
    ranks = [context.Process(target=train_as_rank, args=each) for each in arguments]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(120)
        assert rank.exitcode == 0


@pytest.mark.parametrize('different', [False, True], ids=['one seed', 'a seed for each rank'])
@pytest.mark.parametrize('loop', ['mixed', 'iterations'])
@pytest.mark.usefixtures('on_cpu')
def test_two_processes(tmp_path, loop, different):
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
    options = {
        'launcher': 'pytorch',
        'model_wrapper_cfg': wrapper,
        'train_dataloader.batch_size': 2,
        'randomness.diff_rank_seed': different,
    }
    last = 'iter_9.pth' if loop == 'mixed' else 'iter_12.pth'
    cfgs = [config(tmp_path / name, loop, **options) for name in 'ab']
    train_on_two(cfgs[0])
    train_on_two(cfgs[1], stop=5)
    train_on_two(cfgs[1], resume=True)
    assert_same(state(tmp_path / 'a', last), state(tmp_path / 'b', last))
