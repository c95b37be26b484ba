"""A corrupt file is named, in whatever process and host, and up to a number of them are left out."""

import copy
import importlib.util
import json
import pickle
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset, pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from test_exact_resume import (  # noqa: F401
    _quickly,
    config,
    interrupted,
    messages,
    state,
    train,
    validated,
)
from test_exact_resume import assert_same as assert_same_training
from tooling import CONFIGS, DETECTOR, QUICKEST, assert_refused, call_tool

from inimg_mm.datasets.annotations import AnnotationError
from inimg_mm.engine import UsageError, checking_annotations, load_config, safekeeping
from inimg_mm.engine.hooks import CorruptDataError, CorruptDataHook
from inimg_mm.engine.hooks.guarded_loading import guard
from inimg_mm.engine.hooks.skipped_files import SkippedFiles

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


def read_all(dataset, workers):
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=2, num_workers=workers, collate_fn=pseudo_collate, shuffle=False
    )
    batches = iter(loader)
    try:
        return list(batches)
    finally:
        if workers:
            batches._shutdown_workers()  # collected as garbage they take seconds


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
    with pytest.raises(CorruptDataError, match='in the place of sample 0, 100 others are corrupt too'):
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
    assert_same_training(state(tmp_path / 'a', 'epoch_3.pth'), state(tmp_path / 'b', 'epoch_3.pth'))
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
    assert safekeeping.name_corrupt_data(cfg) == 0
    hook = dict(type='inimg_mm.CorruptDataHook', annotations=False)
    assert cfg.custom_hooks == [dict(type='Mine'), hook]
    assert safekeeping.name_corrupt_data(cfg, 5) == 5
    assert safekeeping.name_corrupt_data(cfg) == 5
    assert cfg.custom_hooks[1] == dict(hook, skip_corrupt=5)
    with pytest.raises(UsageError, match='--skip-corrupt takes a number of files'):
        safekeeping.name_corrupt_data(cfg, -2)


# ---- the hosts ------------------------------------------------------------------------------------------


def garbage(path):
    path.write_bytes(b'this is no picture, whatever its name says' * 9)


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def gone(path):
    path.unlink()


def mmseg_config(root):
    """A set of two pictures and class maps, as mmseg reads them."""
    for part in ('images', 'maps'):
        (root / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ('a', 'b'):
        cv2.imwrite(str(root / 'images' / f'{name}.jpg'), rng.integers(0, 256, (32, 32, 3), np.uint8))
        cv2.imwrite(str(root / 'maps' / f'{name}.png'), rng.integers(0, 2, (32, 32), np.uint8))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='maps'),
        metainfo=dict(classes=('x', 'y'), palette=[[0, 0, 0], [1, 1, 1]]),
        pipeline=pipeline,
    )
    loaders = {
        f'{split}_dataloader': dict(dataset=dict(dataset, test_mode=split == 'val'))
        for split in ('train', 'val')
    }
    return Config(dict(default_scope='mmseg', **loaders))


def hosts_dataset(host, name, split, folder, tmp_path):
    """The data set of a config, on a copy of its files."""
    if host == 'mmseg':
        cfg = mmseg_config(tmp_path / 'data')
    else:
        shutil.copytree(folder / 'data', tmp_path / 'data')
        cfg = load_config(CONFIGS[name])
    importlib.import_module(f'{host}.datasets')
    with DefaultScope.overwrite_default_scope(host):
        return DATASETS.build(cfg[f'{split}_dataloader'].dataset)


HOSTS = [
    ('mmdet', 'mask-rcnn_ini-r18_fpn_digits'),
    ('mmpretrain', QUICKEST),
    ('mmpose', 'td-hm_se-r18_digits-96x96'),
    ('mmseg', None),
]


@pytest.mark.parametrize('damage', [garbage, half, gone])
@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize(('host', 'name'), HOSTS)
def test_hosts_images(folder, tmp_path, monkeypatch, host, name, split, damage):
    pytest.importorskip(host, reason=f'the data is read by {host}')
    monkeypatch.chdir(tmp_path)
    dataset = hosts_dataset(host, name, split, folder, tmp_path)
    path = dataset.get_data_info(1)['img_path']
    damage(Path(path))
    guard(dataset)
    with pytest.raises(CorruptDataError) as error:
        read_all(dataset, workers=1)
    said = str(error.value)
    assert said.startswith(f'{path} (')
    assert said.count('\n') == 0
    if damage is half:
        assert 'is corrupt: the ' in said
        assert said.endswith('is cut off')
    else:
        assert 'cannot be loaded: Load' in said
    if host in ('mmdet', 'mmpose'):
        assert f'(image id {dataset.get_data_info(1)["img_id"]} of data/demo/{split}.json)' in said


@pytest.mark.parametrize('damage', [garbage, half, gone])
def test_class_maps(tmp_path, damage):
    pytest.importorskip('mmseg', reason='the data is read by mmseg')
    dataset = hosts_dataset('mmseg', None, 'train', None, tmp_path)
    path = tmp_path / 'data' / 'maps' / 'b.png'
    damage(path)
    guard(dataset)
    with pytest.raises(CorruptDataError, match=f'^{path} '):
        read_all(dataset, workers=0)


def test_annotations_that_only_the_pipeline_minds(folder, tmp_path, monkeypatch):
    """mmdet does not miss a mask before it makes the sample."""
    pytest.importorskip('mmdet', reason='the data is read by mmdet')
    monkeypatch.chdir(tmp_path)
    dataset = hosts_dataset('mmdet', HOSTS[0][1], 'train', folder, tmp_path)
    info = dataset.get_data_info(1)
    del info['instances'][0]['mask']
    monkeypatch.setattr(dataset, 'get_data_info', lambda index: copy.deepcopy(info))
    guard(dataset)
    said = f"{info['img_path']} .image id {info['img_id']} .*: LoadAnnotations fails with KeyError: 'mask'"
    with pytest.raises(CorruptDataError, match=said):
        dataset[1]


# ---- the tool -------------------------------------------------------------------------------------------

SHORT = (
    'train_cfg.max_epochs=1',
    'train_dataloader.batch_size=4',
    'default_hooks.logger.interval=1',
    'log_level=WARNING',
)


@pytest.fixture
def demo(folder, tmp_path, monkeypatch):
    """A copy of the demo data in the current folder."""
    shutil.copytree(folder / 'data', tmp_path / 'data')
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'data' / 'demo'


def change(path, change_one):
    content = json.loads(path.read_text())
    change_one(content['annotations'])
    path.write_text(json.dumps(content))
    return content


@pytest.mark.slow
def test_the_tool_names_and_skips(demo, tmp_path, monkeypatch, capsys):
    """A broken annotation, then a corrupt image, then both tolerated."""
    content = change(demo / 'train.json', lambda annotations: annotations[0].update(bbox=[1, 2, -3, 4]))
    before = (demo / 'train.json').read_bytes()
    broken = f'annotation {content["annotations"][0]["id"]} of image'
    arguments = [CONFIGS[DETECTOR], '--work-dir', tmp_path / 'w', '--cfg-options', *SHORT]
    assert_refused(monkeypatch, capsys, 'train.py', *arguments, message=['in data/demo/train.json', broken])

    victim = demo / 'images' / content['images'][5]['file_name']
    half(victim)
    name = f'data/demo/images/{victim.name}'
    tolerant = [*arguments[:3], '--skip-corrupt', 1, *arguments[3:]]
    reported = []
    monkeypatch.setattr(checking_annotations, 'print_log', lambda text, *options: reported.append(text))
    call_tool(monkeypatch, 'train.py', *tolerant)
    assert len(reported) == 1
    assert f'left out (1 of up to 1) of data/demo/train.json: {broken}' in reported[0]
    said = capsys.readouterr()
    assert (
        f'left out (1 of up to 1): {name} (image id {content["images"][5]["id"]} of ' in said.out + said.err
    )
    assert (tmp_path / 'w' / 'epoch_1.pth').is_file()
    assert (demo / 'train.json').read_bytes() == before

    garbage(demo / 'images' / content['images'][6]['file_name'])
    with pytest.raises(SystemExit) as stop:
        call_tool(monkeypatch, 'train.py', *tolerant)
    assert stop.value.code == 2
    assert 'skip_corrupt is 1, and as many were left out before' in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_the_hook_under_a_hosts_own_script(demo, tmp_path, monkeypatch, capsys):
    """By a config line; the annotations are looked through as well."""
    path = tmp_path / 'config.py'
    path.write_text(
        f'_base_ = {str(CONFIGS[DETECTOR])!r}\n'
        "custom_hooks = [dict(type='inimg_mm.CorruptDataHook', skip_corrupt=1)]\n"
        'train_dataloader = dict(num_workers=0, persistent_workers=False)\n'
    )
    script = Path(importlib.util.find_spec('mmdet').origin).parent / '.mim' / 'tools' / 'train.py'
    monkeypatch.setattr(sys, 'argv', ['train.py', str(path), '--work-dir', 'w', '--cfg-options', *SHORT])
    change(demo / 'val.json', lambda annotations: annotations[2].update(bbox=[1, 2, 3, float('nan')]))
    with pytest.raises(AnnotationError, match=r'in data/demo/val.json, annotation \d+ of .*finite numbers'):
        runpy.run_path(str(script), run_name='__main__')


@pytest.mark.slow
def test_testing_names_a_corrupt_image_too(demo, tmp_path, monkeypatch, capsys):
    arguments = [CONFIGS[QUICKEST], '--work-dir', tmp_path / 'w', '--cfg-options', *SHORT]
    call_tool(monkeypatch, 'train.py', *arguments)
    victim = next((demo / 'classification' / 'val').rglob('*.png'))
    garbage(victim)
    with pytest.raises(SystemExit) as stop:
        call_tool(monkeypatch, 'test.py', CONFIGS[QUICKEST], tmp_path / 'w' / 'epoch_1.pth')
    assert stop.value.code == 2
    assert f'error: {victim.relative_to(tmp_path)} (' in capsys.readouterr().err.splitlines()[-1]
