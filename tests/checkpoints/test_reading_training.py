"""mmengine's training checkpoints hold more than tensors, and are read without running code."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from helpers.files import saved
from inimg_mm.checkpoints import CheckpointError, read_file, read_state_dict


class TinyModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, x, y=None, mode='tensor'):
        return dict(loss=self.layer(x).square().mean())


@pytest.fixture(scope='module')
def training_checkpoint(tmp_path_factory):
    """What mmengine's Runner saves after two steps: log buffers, schedulers, optimiser, averaged weights."""
    folder = tmp_path_factory.mktemp('run')
    runner = Runner(
        TinyModel(),
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=[(torch.ones(2), 0)] * 4,
            batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=2, by_epoch=False)],
        custom_hooks=[dict(type='EMAHook')],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        default_scope='mmengine',
        experiment_name='reading',
    )
    runner.train()
    DefaultScope._instance_dict.pop(runner.experiment_name)  # as if it had not run
    return folder / 'epoch_1.pth'


def test_training_checkpoint_needs_no_unpickling(training_checkpoint):
    with pytest.raises(pickle.UnpicklingError):
        torch.load(training_checkpoint, weights_only=True)
    content = read_file(training_checkpoint)
    assert {'meta', 'state_dict', 'message_hub', 'optimizer', 'param_schedulers', 'ema_state_dict'} <= set(
        content
    )
    buffer = content['message_hub']['log_scalars']['train/loss']
    assert isinstance(buffer, HistoryBuffer)
    assert buffer.mean() == pytest.approx(buffer.statistics('mean'))
    assert isinstance(buffer.data[0], np.ndarray)
    assert set(read_state_dict(training_checkpoint)) == {'layer.weight', 'layer.bias'}


def test_older_torch_refuses_the_log_buffers(training_checkpoint, monkeypatch):
    monkeypatch.setattr(torch, '__version__', '2.5.1')  # which has no list of what is safe
    with pytest.raises(CheckpointError, match=r'more than tensors \(mmengine\.\S+HistoryBuffer\), .*--trust'):
        read_file(training_checkpoint)


class Abuse:
    """An attribute that is not a statistic of a log buffer."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return getattr, self.arguments


@pytest.mark.parametrize(
    'arguments',
    [
        (HistoryBuffer, 'register_statistics'),
        (HistoryBuffer, '__init__'),
        (HistoryBuffer, '__class__'),
        (np.ndarray, 'tofile'),
        (torch.Tensor, 'numpy'),
        (HistoryBuffer(), 'mean'),
        (torch.ones(1), '__class__'),
    ],
    ids=lambda arguments: f'{getattr(arguments[0], "__name__", "instance")} {arguments[1]}',
)
def test_getattr_reaches_only_the_statistics(training_checkpoint, tmp_path, arguments):
    content = dict(read_file(training_checkpoint), meta=Abuse(*arguments))
    with pytest.raises(CheckpointError, match=r'is refused: it holds more than tensors|is no checkpoint'):
        read_file(saved(tmp_path / 'weights.pth', content))
