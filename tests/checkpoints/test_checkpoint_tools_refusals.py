"""The checkpoint tools on files and targets that they refuse: one line, and nothing overwritten."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers.checkpoint_tools import expanded, folder_of, tool
from helpers.files import PAGE, Hostile
from helpers.nets import tiny
from helpers.pretrained import save
from helpers.tooling import ROOT
from inimg_mm.checkpoints import read_state_dict

TOOLS = {
    'convert_checkpoint': ('{source}', '{target}', '--to', 'timm'),
    'publish_model': ('{source}', '{target}'),
    'inspect_checkpoint': ('{source}',),
}


def bad_files(folder):
    good = save(folder, tiny('resnet18'), name='good.pth')
    half = Path(good).read_bytes()[: os.path.getsize(good) // 2]
    hostile = folder / 'made_hostile.pth'
    torch.save(Hostile(folder / 'created'), hostile)
    return {
        'missing': (None, 'there is no checkpoint'),
        'empty': (b'', 'is empty'),
        'web page': (PAGE, 'is a web page'),
        'half': (half, 'truncated'),
        'text': (b'no weights', 'no checkpoint'),
        'hostile': (hostile.read_bytes(), 'is refused: it holds more than tensors'),
    }


@pytest.mark.parametrize('kind', ['missing', 'empty', 'web page', 'half', 'text', 'hostile'])
@pytest.mark.parametrize('name', TOOLS)
def test_bad_files(tmp_path, name, kind):
    content, message = bad_files(tmp_path)[kind]
    source, target = tmp_path / 'bad' / 'in.pth', tmp_path / 'bad' / 'out.pth'
    source.parent.mkdir()
    if content is not None:
        source.write_bytes(content)
    target.write_text('of value')
    arguments = [part.format(source=source, target=target) for part in TOOLS[name]]
    status, out, error = tool(name, *arguments, *(['--force'] if 'target' in str(TOOLS[name]) else []))
    assert (status, out) == (2, '')
    assert re.fullmatch(rf'error: .*in\.pth.*{message}.*\n|error: {message} .*in\.pth\n', error)
    assert target.read_text() == 'of value'
    assert set(folder_of(target)) <= {'in.pth', 'out.pth'}
    assert not (tmp_path / 'created').exists()


def test_weights_of_another_architecture(tmp_path):
    path = save(tmp_path, {'features.0.weight': torch.ones(2), 'classifier.weight': torch.ones(2)})
    status, _, error = tool('convert_checkpoint', path, tmp_path / 'out.pth', '--to', 'timm')
    assert status == 2
    assert error.endswith("holds no backbone known here; its names start with ['classifier', 'features']\n")


def test_an_existing_target_is_kept(tmp_path):
    source, target = save(tmp_path, tiny('resnet18')), tmp_path / 'out.pth'
    target.write_text('of value')
    status, _, error = tool('convert_checkpoint', source, target, '--to', 'timm')
    assert (status, error) == (2, f'error: {target} is there already; --force overwrites it\n')
    assert target.read_text() == 'of value'
    assert tool('convert_checkpoint', source, target, '--to', 'timm', '--force')[0] == 0
    assert len(read_state_dict(target)) == 120
    published = Path(tool('publish_model', source, target)[1].strip())
    status, _, error = tool('publish_model', source, target)
    assert (status, error) == (2, f'error: {published} is there already; --force overwrites it\n')
    assert tool('publish_model', source, target, '--force')[0] == 0


def test_targets_that_cannot_be(tmp_path):
    source = save(tmp_path, tiny('resnet18'))
    error = tool('convert_checkpoint', source, tmp_path / 'none' / 'out.pth', '--to', 'timm')[2]
    assert error == f'error: there is no folder {tmp_path / "none"}\n'
    error = tool('convert_checkpoint', source, tmp_path, '--to', 'timm', '--force')[2]
    assert error == f'error: {tmp_path} is a folder\n'
    for folder in ('.', '/', tmp_path):
        assert tool('publish_model', source, folder, '--force')[::2] == (2, f'error: {folder} is a folder\n')
    os.mkfifo(tmp_path / 'pipe')
    error = tool('convert_checkpoint', source, tmp_path / 'pipe', '--to', 'timm', '--force')[2]
    assert error.startswith(f'error: {tmp_path / "pipe"} is a device or the like')
    assert not (tmp_path / 'pipe').is_file()


@pytest.mark.parametrize('step', ['write_bytes', 'replace'])
def test_a_full_disk_leaves_the_target(tmp_path, monkeypatch, step):
    source, target = save(tmp_path, tiny('resnet18')), tmp_path / 'out.pth'
    target.write_text('of value')

    def full(self, *args):
        if step == 'write_bytes':
            self.touch()
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Path, step, full)
    status, _, error = tool('convert_checkpoint', source, target, '--to', 'timm', '--force')
    assert (status, error) == (2, f'error: cannot write {target}: No space left on device\n')
    assert target.read_text() == 'of value'
    assert folder_of(target) == ['out.pth', 'weights.pth']


@pytest.mark.parametrize('option', ['--to', '--from'])
def test_unknown_layouts(tmp_path, option):
    status, _, error = tool('convert_checkpoint', 'a.pth', 'b.pth', '--to', 'timm', option, 'caffe')
    assert status == 2
    assert re.search(r"invalid choice: 'caffe' \(choose from .*timm_legacy.*mmpose_scnet", error)


def test_trust(tmp_path):
    path = tmp_path / 'in.pth'
    torch.save(dict(state_dict=expanded('resnet18'), meta=Hostile(tmp_path / 'created')), path)
    assert tool('inspect_checkpoint', path)[0] == 2
    assert not (tmp_path / 'created').exists()
    assert tool('inspect_checkpoint', path, '--trust')[0] == 0
    assert (tmp_path / 'created').exists()


@pytest.mark.slow
def test_from_another_folder_by_its_path(tmp_path):
    save(tmp_path, tiny('resnet18'))
    command = [sys.executable, str(ROOT / 'tools' / 'inspect_checkpoint.py'), 'weights.pth']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith('file: weights.pth, ')
