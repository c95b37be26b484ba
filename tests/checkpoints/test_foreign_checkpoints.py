"""Testing, or going on from, a checkpoint of another model stops instead of measuring noise."""

from pathlib import Path

import pytest
import torch

from inimg_mm.checkpoints.fitting import check_fit
from inimg_mm.checkpoints.reading import open_checkpoint
from inimg_mm.errors import UsageError
from inimg_mm.launch import evaluate, load_config, train
from inimg_mm.registry import build_model

pytest.importorskip('mmpretrain', reason='the config is of mmpretrain (extra mm)')

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'demo' / 'se-r18_digits.py'
TINY = {'model.backbone.base_channels': 16, 'model.head.in_channels': 128}


def config(**options):
    return load_config(CONFIG, {**TINY, **options})


@pytest.fixture
def checkpoint(tmp_path):
    def save(prefix='', **options):
        state = build_model(config(**options)).state_dict()
        file = str(tmp_path / 'epoch_1.pth')
        torch.save({'state_dict': {prefix + key: value for key, value in state.items()}}, file)
        return file

    return save


def test_its_own(checkpoint):
    check_fit(config(), open_checkpoint(checkpoint()))
    check_fit(config(), open_checkpoint(checkpoint(prefix='module.')))


OTHERS = {
    'a plain net for a gated one': {'model.backbone.type': 'inimg_mm.ResNet'},
    'a deeper net': {'model.backbone.depth': 34},
    'other classes': {'model.head.num_classes': 3},
}


@pytest.mark.parametrize('options', OTHERS.values(), ids=OTHERS)
def test_anothers(checkpoint, options):
    file = checkpoint(**options)
    with pytest.raises(
        UsageError, match=r'epoch_1\.pth is not of the model in this config: \d+ of \d+ tensors'
    ):
        evaluate(config(), file)


def test_a_lost_prefix(checkpoint, tmp_path):
    state = torch.load(checkpoint())['state_dict']
    file = str(tmp_path / 'backbone.pth')
    torch.save({k.removeprefix('backbone.'): v for k, v in state.items() if 'backbone' in k}, file)
    with pytest.raises(UsageError, match=r"init_cfg=dict\(type='inimg_mm\.Pretrained'"):
        check_fit(config(), open_checkpoint(file))


def test_training_goes_on_with_other_classes_and_not_with_another_backbone(checkpoint, tmp_path):
    check_fit(config(), open_checkpoint(checkpoint(**OTHERS['other classes'])), heads=False)
    cfg = config(load_from=checkpoint(**OTHERS['a plain net for a gated one']), work_dir=str(tmp_path))
    with pytest.raises(UsageError, match='is not of the model'):
        train(cfg)


@pytest.mark.parametrize('options', OTHERS.values(), ids=OTHERS)
def test_no_training_goes_on_from_anothers(checkpoint, tmp_path, options):
    """Named or found; not even with another head, whose optimiser's state would not fit."""
    file = checkpoint(**options)
    torch.save({**torch.load(file), 'meta': {}, 'message_hub': {}}, file)
    for resume in (file, 'auto'):
        with pytest.raises(UsageError, match=r'epoch_1\.pth is not of the model in this config'):
            train(config(work_dir=str(tmp_path)), resume)
