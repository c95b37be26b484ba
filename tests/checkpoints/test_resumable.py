"""A training resumes from the newest checkpoint that is whole, wherever its folder is."""

import logging
import os
import shutil

import pytest
import torch
from mmengine.config import Config

from helpers.tooling import CONFIGS, DETECTOR, QUICKEST, assert_refused, call_tool
from helpers.toy_training import assert_same, names, safe, state, train, validated
from inimg_mm.checkpoints import resumable
from inimg_mm.checkpoints.resumable import newest_checkpoint, open_resumable
from inimg_mm.errors import CheckpointError, RefusedError
from inimg_mm.launch import added_hooks, load_config
from inimg_mm.launch.preflight import starting_point

pytestmark = pytest.mark.usefixtures('quickly')


@pytest.fixture
def trained(tmp_path):
    """A work folder with three checkpoints."""
    train(safe(tmp_path / 'w'))
    return tmp_path / 'w'


def cut(path, share=0.5):
    os.truncate(path, int(path.stat().st_size * share))


def flip(path):
    """Change a byte in the middle of the largest tensor of a file."""
    content = bytearray(path.read_bytes())
    weight = torch.load(path, weights_only=False)['state_dict']['net.0.weight'].numpy().tobytes()
    content[content.index(weight) + 5] ^= 1
    path.write_bytes(content)


class Code:
    def __reduce__(self):
        return os.system, ('true',)


@pytest.mark.parametrize(
    'damage', [cut, flip, lambda path: path.write_bytes(b''), lambda path: path.unlink()]
)
def test_a_damaged_checkpoint_is_skipped(trained, tmp_path, damage):
    (trained / 'last_checkpoint').write_text(str(trained / 'epoch_2.pth'))
    damage(trained / 'epoch_2.pth')
    reference = state(trained, 'epoch_3.pth')
    cfg = safe(trained, log_level='WARNING')
    runner = train(cfg, resume=True)
    assert runner._load_from == str(trained / 'epoch_1.pth')
    assert_same(reference, state(trained, 'epoch_3.pth'))


def test_the_warning_names_both(trained, monkeypatch):
    said = []
    monkeypatch.setattr(resumable, 'print_log', lambda text, *options: said.append((text, *options)))
    cut(trained / 'epoch_3.pth')
    cut(trained / 'epoch_2.pth', 0.9)
    assert newest_checkpoint(trained).source == str(trained / 'epoch_1.pth')
    ((text, logger, level),) = said
    assert (logger, level) == ('current', logging.WARNING)
    for part in (
        f'{trained / "epoch_3.pth"} is truncated',
        'epoch_2.pth',
        f'going on from {trained / "epoch_1.pth"}',
    ):
        assert part in text


def test_a_number_is_no_string(tmp_path):
    """10 comes after 9; best checkpoints and others in the folder are not the one before."""
    train(safe(tmp_path, **{'train_cfg.max_epochs': 10}))
    shutil.copy(tmp_path / 'epoch_1.pth', tmp_path / 'best_error_epoch_9.pth')
    shutil.copy(tmp_path / 'epoch_1.pth', tmp_path / 'epoch_11.pth')  # of an earlier, longer training
    assert newest_checkpoint(tmp_path).source.endswith('epoch_10.pth')
    cut(tmp_path / 'epoch_10.pth')
    assert newest_checkpoint(tmp_path).source.endswith('/epoch_9.pth')


def test_all_are_damaged(trained):
    for path in trained.glob('*.pth'):
        cut(path)
    with pytest.raises(CheckpointError, match='no checkpoint to go on from: .*epoch_3.*epoch_2.*epoch_1'):
        newest_checkpoint(trained)


def test_code_stops(trained):
    torch.save(dict(meta=Code(), message_hub={}, state_dict={}), trained / 'epoch_3.pth')
    with pytest.raises(RefusedError, match='epoch_3.pth is refused'):
        newest_checkpoint(trained)
    cfg = safe(trained)
    with pytest.raises(RefusedError):
        train(cfg, resume=True)


def test_weights_alone_are_no_training(tmp_path):
    torch.save(dict(state_dict={}), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'x.pth holds no state of a training \(meta, message_hub\)'):
        open_resumable(str(tmp_path / 'x.pth'))


def test_nothing_to_resume(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    train(safe(tmp_path), resume=True)
    assert 'epoch_3.pth' in names(tmp_path)


def test_without_a_pointer(trained):
    (trained / 'last_checkpoint').unlink()
    assert newest_checkpoint(trained).source == str(trained / 'epoch_3.pth')
    (trained / 'last_checkpoint').write_text('')
    assert newest_checkpoint(trained).source == str(trained / 'epoch_3.pth')


@pytest.mark.parametrize(
    'content', [b'/gone/epoch_7.pth', b'iter_5.pth', b'\xff\xfe\x80', b'\0\0', b'x' * 3000, b'text\nand more']
)
def test_a_pointer_to_nothing(trained, content):
    (trained / 'last_checkpoint').write_bytes(content)
    assert newest_checkpoint(trained).source == str(trained / 'epoch_3.pth')
    cut(trained / 'epoch_3.pth')
    assert newest_checkpoint(trained).source == str(trained / 'epoch_2.pth')


def test_a_pointer_to_nothing_where_nothing_is(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('/gone/epoch_7.pth')
    with pytest.raises(
        CheckpointError, match='there is no checkpoint /gone/epoch_7.pth; --resume FILE names'
    ):
        newest_checkpoint(tmp_path)


def test_a_folder_is_no_checkpoint(trained, tmp_path):
    with pytest.raises(CheckpointError, match=f'{trained} is a folder: name a checkpoint in it'):
        starting_point(Config(dict(work_dir='nowhere', resume=True, load_from=str(trained))))
    (tmp_path / 'last_checkpoint').write_text(str(trained))
    with pytest.raises(CheckpointError, match=f'{trained} is a folder'):
        starting_point(Config(dict(work_dir=str(tmp_path), resume=True)))


def test_a_moved_folder(tmp_path, monkeypatch):
    """Also by a relative name, and from another current folder."""
    monkeypatch.chdir(tmp_path)
    train(safe('w'), stop=6)
    (tmp_path / 'elsewhere').mkdir()
    shutil.move('w', 'elsewhere/v')
    monkeypatch.chdir(tmp_path / 'elsewhere')
    train(safe('v'), resume=True)
    train(safe(tmp_path / 'whole'))
    assert_same(state(tmp_path / 'elsewhere' / 'v', 'epoch_3.pth'), state(tmp_path / 'whole', 'epoch_3.pth'))


def test_a_copied_folder_leaves_its_original_alone(tmp_path):
    def best(folder):
        return validated(safe(tmp_path / folder, save_best='error', rule='less', max_keep_ckpts=1))

    train(best('original'), stop=6)
    shutil.copytree(tmp_path / 'original', tmp_path / 'copy')
    before = {path.name: path.read_bytes() for path in (tmp_path / 'original').glob('*.pth')}
    assert any(name.startswith('best') for name in before)
    runner = train(best('copy'), resume=True)
    assert runner._load_from.startswith(str(tmp_path / 'copy'))
    assert {path.name: path.read_bytes() for path in (tmp_path / 'original').glob('*.pth')} == before
    assert sum(name.startswith('best') for name in names(tmp_path / 'copy')) == 1


def test_the_config_says_what_to_go_on_from(trained):
    assert starting_point(Config(dict(work_dir=str(trained)))) is None
    assert starting_point(Config(dict(work_dir=str(trained), resume=True))).source == str(
        trained / 'epoch_3.pth'
    )
    named = dict(work_dir='nowhere', resume=True, load_from=str(trained / 'epoch_2.pth'))
    assert starting_point(Config(named)).source == str(trained / 'epoch_2.pth')
    cut(trained / 'epoch_2.pth')
    with pytest.raises(CheckpointError, match='epoch_2.pth'):  # this one was asked for
        starting_point(Config(named))


# ---- in the tools ---------------------------------------------------------------------------------------


def test_the_tool_puts_it_in_the_place_of_mmengines():
    cfg = load_config(CONFIGS[DETECTOR])
    cfg.default_hooks.checkpoint.max_keep_ckpts = 7
    added_hooks.save_safely(cfg)
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.type, checkpoint.max_keep_ckpts) == ('inimg_mm.SafeCheckpointHook', 7)

    from mmengine.hooks import CheckpointHook

    for hook, after in (
        (dict(type=CheckpointHook), 'inimg_mm.SafeCheckpointHook'),
        (dict(type='mmengine.CheckpointHook'), 'inimg_mm.SafeCheckpointHook'),
        (dict(type='Mine'), 'Mine'),
    ):
        cfg = Config(dict(default_hooks=dict(checkpoint=hook)))
        added_hooks.save_safely(cfg)
        assert cfg.default_hooks.checkpoint.type == after
    cfg = Config(dict(default_hooks=dict(checkpoint=None)))
    added_hooks.save_safely(cfg)
    assert cfg.default_hooks.checkpoint is None
    cfg = Config(dict())
    added_hooks.save_safely(cfg)
    assert cfg.default_hooks.checkpoint == dict(type='inimg_mm.SafeCheckpointHook', interval=1)


def test_the_tool_keeps_a_users_hooks():
    cfg = Config(dict(custom_hooks=[dict(type='Mine')]))
    added_hooks.resume_exactly(cfg)
    added_hooks.resume_exactly(cfg)
    assert cfg.custom_hooks == [dict(type='Mine'), dict(type='inimg_mm.ExactResumeHook')]


@pytest.mark.slow
def test_the_tool_skips_a_damaged_checkpoint(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.undo()  # the config is looked at
    monkeypatch.chdir(folder)
    options = ['--work-dir', tmp_path, '--cfg-options', 'train_dataloader.num_workers=0']
    options += [
        'train_dataloader.persistent_workers=False',
        'train_cfg.max_epochs=2',
        'train_cfg.val_interval=9',
    ]
    call_tool(monkeypatch, 'train.py', CONFIGS[QUICKEST], *options)
    cut(tmp_path / 'epoch_2.pth')
    call_tool(monkeypatch, 'train.py', CONFIGS[QUICKEST], '--resume', *options)
    said = capsys.readouterr()
    assert 'epoch_2.pth is truncated' in said.out + said.err
    assert f'going on from {tmp_path / "epoch_1.pth"}' in said.out + said.err
    assert 'load_from = None' in (tmp_path / f'{QUICKEST}.py').read_text()  # the config stays a config

    torch.save(dict(meta=Code(), message_hub={}, state_dict={}), tmp_path / 'epoch_2.pth')
    arguments = [CONFIGS[QUICKEST], '--resume', *options]
    assert_refused(monkeypatch, capsys, 'train.py', *arguments, message='is refused')
