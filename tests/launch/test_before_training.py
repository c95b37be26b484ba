"""``tools/test.py`` without a checkpoint: the model that a training would start from."""

import torch
from mmengine.runner import Runner

from helpers.nets import randomise
from helpers.pretrained import save
from helpers.small_training import QUICK
from helpers.tooling import CONFIGS, QUICKEST, assert_refused, call_tool
from inimg_mm.models import ResNet


def options(**init_cfg):
    changes = {**QUICK, 'model.backbone.type': 'inimg_mm.SEResNet'}
    named = {'type': 'inimg_mm.Pretrained', 'warm_start': True, **init_cfg}
    changes |= {f'model.backbone.init_cfg.{key}': value for key, value in named.items()}
    return ['--cfg-options', *(f'{key}={value}' for key, value in changes.items())]


def test_a_warm_start_is_tested(folder, monkeypatch, tmp_path):
    plain = randomise(ResNet(depth=18, base_channels=16))
    tested = []
    own = Runner.test
    monkeypatch.setattr(Runner, 'test', lambda runner: tested.append(runner.model) or own(runner))
    monkeypatch.chdir(folder)
    arguments = [CONFIGS[QUICKEST], '--work-dir', tmp_path / 'w', '--out', tmp_path / 'metrics.json']
    call_tool(monkeypatch, 'test.py', *arguments, *options(checkpoint=save(tmp_path, plain)))
    assert 'accuracy/top1' in (tmp_path / 'metrics.json').read_text()
    (model,) = tested
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        (found,) = model.backbone.eval()(image)
        assert torch.equal(found, plain.eval()(image)[-1])


def test_a_file_that_is_not_there(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(folder)
    arguments = [CONFIGS[QUICKEST], '--work-dir', tmp_path / 'w', *options(checkpoint='nowhere.pth')]
    assert_refused(monkeypatch, capsys, 'test.py', *arguments, message='no checkpoint nowhere.pth')
