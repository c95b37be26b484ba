"""Corrupt files under the hosts' loaders, and in the tools."""

import copy
import importlib.util
import json
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from helpers.tooling import CONFIGS, DETECTOR, QUICKEST, assert_refused, call_tool
from helpers.toy_training import read_all
from inimg_mm.engine.hooks import CorruptDataError
from inimg_mm.engine.hooks.corrupt_data.guarded_loading import guard
from inimg_mm.errors import AnnotationError
from inimg_mm.launch import load_config

pytestmark = pytest.mark.usefixtures('quickly')


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


def test_labels_that_are_no_class(folder, tmp_path, monkeypatch):
    pytest.importorskip('mmseg', reason='the data is read by mmseg')
    pytest.importorskip('mmpretrain', reason='the data is read by mmpretrain')
    monkeypatch.chdir(tmp_path)
    dataset = hosts_dataset('mmseg', None, 'train', None, tmp_path / 'maps')
    path = tmp_path / 'maps' / 'data' / 'maps' / 'b.png'
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    for value in (255, 2):  # 255 does not count, and there are two classes
        labels[3, 4] = value
        cv2.imwrite(str(path), labels)
        guard(dataset)
        if value == 255:
            read_all(dataset, workers=0)
    with pytest.raises(CorruptDataError, match=f'^{path} .*it has the label 2, and there are 2 classes'):
        read_all(dataset, workers=0)
    dataset = hosts_dataset('mmpretrain', 'se-r18_digits', 'train', folder, tmp_path)
    guard(dataset)
    read_all(dataset, workers=0)
    info = dataset.get_data_info(0)
    monkeypatch.setattr(dataset, 'get_data_info', lambda index: dict(info, gt_label=10))
    with pytest.raises(CorruptDataError, match=f'^{info["img_path"]} .*has the label 10, and there are 10'):
        dataset[0]


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
    monkeypatch.setattr('mmengine.logging.print_log', lambda text, *_, **__: reported.append(text))
    call_tool(monkeypatch, 'train.py', *tolerant)
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
