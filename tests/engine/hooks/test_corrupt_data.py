"""A corrupt file is named, in whatever process and host, and up to a number of them are left out."""

import pickle

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS

from helpers.toy_training import assert_same, config, interrupted, messages, read_all, state, train, validated
from inimg_mm.engine.hooks import CorruptDataError, CorruptDataHook
from inimg_mm.engine.hooks.corrupt_data.guarded_loading import guard
from inimg_mm.engine.hooks.corrupt_data.skipped_files import SkippedFiles
from inimg_mm.errors import UsageError
from inimg_mm.launch import added_hooks

pytestmark = pytest.mark.usefixtures('quickly')

BAD = (3, 7, 8)


@DATASETS.register_module()
class Pictures(BaseDataset):
    """Samples of a file each, of which some cannot be read."""

    bad = BAD

    def load_data_list(self):
        return [dict(img_path=f'nowhere/{index}.png', img_id=100 + index) for index in range(11)]

    def prepare_data(self, index):
        if index in self.bad:
            raise OSError(f'number {index}\nis not an image')
        return dict(inputs=torch.tensor([float(index), 0.5, float(index), 1.0]))


def pictures(work_dir, skip, loop='epochs', workers=0, **options):
    cfg = config(work_dir, loop, workers, **options)
    cfg.train_dataloader.dataset = dict(type='Pictures')
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='inimg_mm.CorruptDataHook', skip_corrupt=skip)]
    return cfg


# ---- the guard ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('workers', [0, 1])
def test_one_sentence_from_any_process(workers):
    dataset = Pictures()
    guard(dataset)
    with pytest.raises(CorruptDataError) as error:
        read_all(dataset, workers)
    assert str(error.value) == (
        'nowhere/3.png (image id 103 of Pictures) cannot be loaded: its loading fails with OSError: '
        'number 3 is not an image'
    )


@pytest.mark.parametrize(
    'wrap', [lambda d: RepeatDataset(d, 2), lambda d: ConcatDataset([Pictures(indices=2), d])]
)
def test_wrapped_data(wrap):
    dataset = wrap(Pictures())
    assert guard(dataset) >= 1
    with pytest.raises(CorruptDataError, match='nowhere/3.png'):
        read_all(dataset, 0)


def test_a_guarded_dataset_is_sent_to_spawned_workers():
    dataset = Pictures()
    guard(dataset)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.prepare_data.dataset is copy
    with pytest.raises(CorruptDataError, match='nowhere/3.png'):
        copy[3]


def test_replaced_by_the_index(tmp_path):
    """The same sample in every process and every time, and not always the same for all."""
    kept = [index for index in range(11) if index not in BAD]
    runs = []
    for workers in (0, 2):
        dataset = Pictures()
        guard(dataset, SkippedFiles(tmp_path / f'{workers}.txt', 3))
        samples = [s[0].item() for batch in read_all(dataset, workers) for s in batch['inputs']]
        assert [samples[index] for index in kept] == kept
        assert all(samples[index] in kept for index in BAD)
        assert sorted(dataset.prepare_data.tolerated.entries())[0][0] == 'nowhere/3.png'
        runs.append(samples)
    assert runs[0] == runs[1]
    assert len({runs[0][index] for index in BAD}) > 1


def test_all_the_others_are_corrupt_too(tmp_path):
    dataset = Pictures()
    dataset.bad = range(11)
    guard(dataset, SkippedFiles(tmp_path / 'x.txt', 11))
    with pytest.raises(
        CorruptDataError,
        match=r'^nowhere/0\.png .* number 0 is not an image; in its place, 100 others are corrupt too',
    ):
        dataset[0]


def test_no_memory_is_no_corruption(monkeypatch, tmp_path):
    def fail(self, index):
        raise MemoryError

    dataset = Pictures()
    guard(dataset, SkippedFiles(tmp_path / 'x.txt', 11))
    monkeypatch.setattr(Pictures, 'prepare_data', fail)
    with pytest.raises(MemoryError):
        dataset[0]


def test_the_list_is_shared(tmp_path):
    one, other = (SkippedFiles(tmp_path / 'list.txt', 2) for _ in range(2))
    assert one.admit('a', 'is bad')
    assert other.admit('b', 'is bad')
    assert other.admit('a', 'is bad')
    assert not one.admit('c', 'is bad')
    assert one.entries() == [('a', 'is bad'), ('b', 'is bad')]
    one.clear()
    assert other.entries() == []


# ---- the hook -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('loop', ['epochs', 'iterations'])
def test_up_to_a_number_is_left_out(tmp_path, workers, loop):
    train(pictures(tmp_path / 'a', 3, loop, workers, log_level='WARNING'))
    said = [line for line in messages(tmp_path / 'a') if 'left out (' in line]
    assert len(said) == 3  # once each, in three epochs
    assert all(
        f'left out ({number} of up to 3): nowhere/' in line for number, line in enumerate(said, start=1)
    )
    with pytest.raises(
        CorruptDataError, match=r'nowhere/. *.png .*; skip_corrupt is 2, and as many were left'
    ):
        train(pictures(tmp_path / 'b', 2, loop, workers))
    with pytest.raises(CorruptDataError, match=r'not an image; skip_corrupt is 0$'):
        train(pictures(tmp_path / 'c', 0, loop, workers))


def test_a_resumed_training_counts_on(tmp_path):
    train(pictures(tmp_path / 'a', 3, workers=1))
    cfg = pictures(tmp_path / 'b', 3, workers=1, log_level='WARNING')
    interrupted(cfg, [6, 10])
    assert any('3 corrupt files are left out so far' in line for line in messages(tmp_path / 'b'))
    assert_same(state(tmp_path / 'a', 'epoch_3.pth'), state(tmp_path / 'b', 'epoch_3.pth'))
    train(pictures(tmp_path / 'b', 3, log_level='WARNING'))  # a new training begins a new list
    assert sum('left out (' in line for line in messages(tmp_path / 'b')) == 3


def test_validation_is_never_cut(tmp_path):
    cfg = validated(pictures(tmp_path, 11))
    cfg.val_dataloader.dataset = dict(type='Pictures', test_mode=True)
    with pytest.raises(CorruptDataError, match='nowhere/3.png .*not an image$'):
        train(cfg)


@pytest.mark.parametrize('number', [-1, 1.5, True, 'all'])
def test_no_number_of_files(number):
    with pytest.raises(UsageError, match='skip_corrupt is a number of files'):
        CorruptDataHook(number)


def test_data_of_another_kind(tmp_path):
    cfg = pictures(tmp_path, 1)
    cfg.train_dataloader = torch.utils.data.DataLoader([dict(inputs=torch.ones(4))] * 4, batch_size=2)
    with pytest.raises(UsageError, match="needs a data set of mmengine's kind .*, and list is none"):
        train(cfg)


def test_the_tools_entry():
    cfg = Config(dict(custom_hooks=[dict(type='Mine')]))
    assert added_hooks.name_corrupt_data(cfg) == 0
    hook = dict(type='inimg_mm.CorruptDataHook', annotations=False)
    assert cfg.custom_hooks == [dict(type='Mine'), hook]
    assert added_hooks.name_corrupt_data(cfg, 5) == 5
    assert added_hooks.name_corrupt_data(cfg) == 5
    assert cfg.custom_hooks[1] == dict(hook, skip_corrupt=5)
    with pytest.raises(UsageError, match='--skip-corrupt takes a number of files'):
        added_hooks.name_corrupt_data(cfg, -2)
