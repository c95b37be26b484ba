"""A training without a GPU makes plain norms of synchronised ones, and says so."""

import pytest
import torch

from helpers.small_training import classifier
from inimg_mm.launch import runs


def test_a_training_of_synchronised_norms_on_a_cpu(folder, tmp_path, monkeypatch):
    pytest.importorskip('mmpretrain')
    monkeypatch.chdir(folder)
    monkeypatch.setattr('inimg_mm.launch.distributed.get_device', lambda: 'cpu')
    said = []
    monkeypatch.setattr('inimg_mm.launch.distributed.print_log', lambda text, *_: said.append(text))
    runs.train(classifier(tmp_path, **{'model.backbone.norm_cfg': dict(type='SyncBN')}))
    assert said == ['1 synchronised norms need GPUs: here they are plain ones (BN), of the same weights']
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)
    assert "type='BN'" in saved['meta']['cfg']
    assert saved['state_dict']['backbone.bn1.running_mean'].any()
