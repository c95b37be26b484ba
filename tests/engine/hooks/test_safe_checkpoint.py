"""Checkpoints survive failed writes and damage; a training resumes from the newest that is whole."""

import resource
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import FlexibleRunner, find_latest_checkpoint

from helpers.tooling import CONFIGS, QUICKEST, assert_refused
from helpers.toy_training import (
    Error,
    Interrupted,
    assert_same,
    config,
    messages,
    names,
    safe,
    state,
    train,
    validated,
)
from inimg_mm.checkpoints.resumable import newest_checkpoint
from inimg_mm.engine.hooks import CheckpointNotSavedError, SafeCheckpointHook
from inimg_mm.engine.hooks.safe_checkpoint import disk_space as room
from inimg_mm.engine.hooks.safe_checkpoint import safe_checkpoint
from inimg_mm.errors import CheckpointError, UsageError

pytestmark = pytest.mark.usefixtures('quickly')


@pytest.fixture
def trained(tmp_path):
    """A work folder with three checkpoints."""
    train(safe(tmp_path / 'w'))
    return tmp_path / 'w'


# ---- writing --------------------------------------------------------------------------------------------


def test_the_same_files_as_mmengines_hook(tmp_path, trained):
    train(config(tmp_path / 'plain'))
    assert names(trained) == names(tmp_path / 'plain') == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']
    assert find_latest_checkpoint(str(trained)) == str(trained / 'epoch_3.pth')
    a, b = (state(folder, 'epoch_3.pth') for folder in (trained, tmp_path / 'plain'))
    assert a.keys() == b.keys()
    assert_same(a, b)


def test_a_flexible_runner(tmp_path):
    train(safe(tmp_path, max_keep_ckpts=2), runner=FlexibleRunner)
    assert names(tmp_path) == ['epoch_2.pth', 'epoch_3.pth']


def test_old_checkpoints_go_after_the_new_one_is_whole(tmp_path, monkeypatch):
    seen = []
    remove = safe_checkpoint._remove

    def watch(path):
        seen.append((path.name, names(tmp_path), (tmp_path / 'last_checkpoint').read_text()))
        remove(path)

    monkeypatch.setattr(safe_checkpoint, '_remove', watch)
    train(safe(tmp_path, max_keep_ckpts=1))
    assert seen == [
        ('epoch_1.pth', ['epoch_1.pth', 'epoch_2.pth'], str(tmp_path / 'epoch_2.pth')),
        ('epoch_2.pth', ['epoch_2.pth', 'epoch_3.pth'], str(tmp_path / 'epoch_3.pth')),
    ]
    assert names(tmp_path) == ['epoch_3.pth']


def test_a_kill_before_an_old_checkpoint_goes_leaves_nothing_behind(tmp_path, monkeypatch):
    def killed(path):
        raise Interrupted

    remove = safe_checkpoint._remove
    monkeypatch.setattr(safe_checkpoint, '_remove', killed)
    with pytest.raises(Interrupted):
        train(safe(tmp_path, max_keep_ckpts=1))
    monkeypatch.setattr(safe_checkpoint, '_remove', remove)
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']
    train(safe(tmp_path, max_keep_ckpts=1), resume=True)
    assert names(tmp_path) == ['epoch_3.pth']


def test_best_checkpoints_too(tmp_path, monkeypatch):
    seen = []
    remove = safe_checkpoint._remove
    monkeypatch.setattr(
        safe_checkpoint, '_remove', lambda path: (seen.append((path.name, names(tmp_path))), remove(path))
    )
    scores = iter([3.0, 2.0, 1.0])
    monkeypatch.setattr(Error, 'compute_metrics', lambda self, results: dict(error=next(scores)))
    train(validated(safe(tmp_path, save_best='error', rule='less')))
    best = [name for name in names(tmp_path) if name.startswith('best')]
    assert len(best) == 1
    gone = [(name, there) for name, there in seen if name.startswith('best')]
    assert gone
    for name, there in gone:
        assert name in there
        assert sum(other.startswith('best') for other in there) == 2


def test_a_file_that_a_killed_run_left_is_cleared(tmp_path):
    (tmp_path / '.epoch_2.pth.part').write_bytes(b'half')
    (tmp_path / 'mine.part').write_bytes(b'kept')
    train(safe(tmp_path))
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth', 'mine.part']


@pytest.fixture
def limit_files():
    """Have the system refuse writes beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize('keep', [-1, 1])
def test_a_write_that_fails(tmp_path, limit_files, monkeypatch, keep):
    write = SafeCheckpointHook._write

    def limited(hook, runner, name, options):
        limit_files(2000 if name == 'epoch_2.pth' else resource.RLIM_INFINITY)
        try:
            write(hook, runner, name, options)
        finally:
            limit_files(resource.RLIM_INFINITY)

    monkeypatch.setattr(SafeCheckpointHook, '_write', limited)
    with pytest.raises(
        CheckpointNotSavedError, match='epoch_2.pth could not be written: File too large'
    ) as error:
        train(safe(tmp_path, max_keep_ckpts=keep))
    assert '\n' not in str(error.value)
    assert names(tmp_path) == ['epoch_1.pth']
    assert newest_checkpoint(tmp_path).source == str(tmp_path / 'epoch_1.pth')
    monkeypatch.setattr(SafeCheckpointHook, '_write', write)
    train(safe(tmp_path, max_keep_ckpts=keep), resume=True)
    train(safe(tmp_path / 'whole'))
    assert_same(state(tmp_path, 'epoch_3.pth'), state(tmp_path / 'whole', 'epoch_3.pth'))


def test_mmengines_hook_does_lose_its_only_checkpoint(tmp_path, limit_files, monkeypatch):
    """What the other tests are about."""
    from mmengine.fileio import LocalBackend

    put = LocalBackend.put

    def limited(backend, content, path):
        limit_files(2000 if 'epoch_2' in str(path) else resource.RLIM_INFINITY)
        try:
            put(backend, content, path)
        finally:
            limit_files(resource.RLIM_INFINITY)

    monkeypatch.setattr(LocalBackend, 'put', limited)
    cfg = config(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': 1})
    with pytest.raises(OSError, match='File too large'):
        train(cfg)
    with pytest.raises(CheckpointError):
        newest_checkpoint(tmp_path)


def test_another_place_for_checkpoints(tmp_path):
    cfg = safe(tmp_path / 'run', out_dir=str(tmp_path / 'store'), max_keep_ckpts=1)
    train(cfg, stop=6)
    train(cfg, resume=True)
    assert names(tmp_path / 'store' / 'run') == ['epoch_3.pth']
    assert newest_checkpoint(tmp_path / 'run').source == str(tmp_path / 'store' / 'run' / 'epoch_3.pth')


def test_a_remote_place_is_mmengines(tmp_path, monkeypatch):
    hook = SafeCheckpointHook()
    hook.file_backend = object()
    called = []
    monkeypatch.setattr(
        safe_checkpoint.CheckpointHook,
        '_save_checkpoint_with_step',
        lambda *arguments: called.append(arguments),
    )
    hook._save_checkpoint_with_step('runner', 3, {})
    assert called == [(hook, 'runner', 3, {})]


# ---- before the start -----------------------------------------------------------------------------------


def test_a_work_folder_that_cannot_be(monkeypatch, capsys, tmp_path, folder):
    monkeypatch.chdir(folder)
    (tmp_path / 'file').write_text('in the way')
    for work_dir, said in ((tmp_path / 'file', 'File exists'), (tmp_path / 'file' / 'w', 'Not a directory')):
        arguments = [CONFIGS[QUICKEST], '--work-dir', work_dir]
        message = f'cannot make the folder {work_dir}: {said}'
        assert_refused(monkeypatch, capsys, 'train.py', *arguments, message=message)


def test_a_disk_that_is_too_small(tmp_path, monkeypatch):
    size = room.checkpoint_bytes(train(safe(tmp_path / 'a')), True)
    free = SimpleNamespace(free=1.9 * size)
    monkeypatch.setattr(room.shutil, 'disk_usage', lambda path: free)
    said = (
        r'has [\d.]+ k?B free, and a checkpoint of this run takes about [\d.]+ k?B, of which 2 must find room'
    )
    with pytest.raises(UsageError, match=said):
        train(safe(tmp_path / 'b'))
    assert names(tmp_path / 'b') == []
    free.free = 2 * size
    train(safe(tmp_path / 'b'), stop=6)
    free.free = size  # the one that is there stays until the next is whole
    train(safe(tmp_path / 'b'), resume=True)


def test_less_than_all_is_a_warning(tmp_path, monkeypatch):
    runner = train(safe(tmp_path / 'a'))
    size = room.checkpoint_bytes(runner, True)
    monkeypatch.setattr(room.shutil, 'disk_usage', lambda path: SimpleNamespace(free=2.5 * size))
    train(safe(tmp_path / 'b', log_level='WARNING'))
    assert any('the 3 checkpoints to come take about' in line for line in messages(tmp_path / 'b'))
    train(safe(tmp_path / 'c', log_level='WARNING', max_keep_ckpts=1))
    assert not any('checkpoints to come' in line for line in messages(tmp_path / 'c'))


@pytest.mark.parametrize(
    'optimizer',
    [
        dict(type='SGD', lr=0.1),
        dict(type='SGD', lr=0.1, momentum=0.9),
        dict(type='AdamW', lr=0.1),
        dict(type='Adam', lr=0.1, amsgrad=True),
        dict(type='RMSprop', lr=0.1, momentum=0.9, centered=True),
    ],
    ids=str,
)
@pytest.mark.parametrize('ema', [False, True])
def test_the_estimate(tmp_path, optimizer, ema):
    """It is of the tensors in the file, to a few bytes of counters."""
    cfg = safe(tmp_path, **{'optim_wrapper.optimizer': dict(_delete_=True, **optimizer)})
    cfg.custom_hooks = [dict(type='EMAHook')] if ema else []
    runner = train(cfg)
    content = state(tmp_path, 'epoch_3.pth')
    found = sum(
        t.numel() * t.element_size() for t in tensors([content[k] for k in content if k != 'message_hub'])
    )
    assert room.checkpoint_bytes(runner, True) == pytest.approx(found, abs=100)


def tensors(node):
    if isinstance(node, torch.Tensor):
        yield node
    elif isinstance(node, dict | list | tuple):
        for child in node.values() if isinstance(node, dict) else node:
            yield from tensors(child)


@pytest.mark.parametrize(
    ('options', 'done', 'end', 'files'),
    [
        (dict(interval=1), 0, 12, 12),
        (dict(interval=1), 9, 12, 3),
        (dict(interval=5), 0, 12, 3),
        (dict(interval=5, save_last=False), 0, 12, 2),
        (dict(interval=5, save_begin=3), 0, 12, 3),
        (dict(interval=-1), 0, 12, 1),
        (dict(interval=-1, save_last=False), 0, 12, 0),
        (dict(interval=1, max_keep_ckpts=3), 0, 12, 4),
        (dict(interval=1, max_keep_ckpts=3), 9, 12, 1),
        (dict(interval=1, max_keep_ckpts=1), 0, 1, 1),
    ],
)
def test_planned_files(options, done, end, files):
    hook = SafeCheckpointHook(**options)
    hook.keep_ckpt_ids = list(range(done))[-options.get('max_keep_ckpts', 1) :]
    runner = SimpleNamespace(epoch=done, max_epochs=end)
    saved = [e for e in range(done, end) if saves(hook, SimpleNamespace(epoch=e, max_epochs=end))]
    assert options.get('max_keep_ckpts') or len(saved) == files
    assert room.planned(hook, runner) == files


def saves(hook, runner):
    """mmengine's own decision."""
    runner._train_loop = None
    last = hook.save_last and runner.epoch + 1 == runner.max_epochs
    return hook.every_n_epochs(runner, hook.interval, hook.save_begin) or last
