"""The checkpoint says in which form each block was computed, and a resume in another one says so."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper

from helpers.graphs import ToyClassifier
from helpers.toy_training import config, messages, state, train
from inimg_mm.engine.hooks.exact_resume import fused_blocks
from inimg_mm.models import fused

pytestmark = pytest.mark.usefixtures('quickly', 'on_cpu')
BACKBONE = dict(type='inimg_mm.SEResNet', depth=18, base_channels=4, stem_channels=4, out_indices=(0, 1))
FUSED = 'fused end: norm, SE, sum, ReLU'


def training(folder, switch='auto', **options):
    model = dict(type=ToyClassifier, backbone={**BACKBONE, 'fused': switch})
    return config(folder, **{'model': model, 'log_level': 'WARNING', **options})


@pytest.fixture
def gpu(monkeypatch):
    """A machine on which nothing speaks against fused operations; what is asked of it."""
    asked = []
    monkeypatch.setattr(fused_blocks, 'why_not', lambda switch, like: asked.append((switch, like.dtype)))
    return asked


def forms(folder, name):
    return state(folder, name)['meta']['exact_resume']['block_forms']


def test_a_checkpoint_has_the_form_of_every_block(tmp_path, gpu):
    train(training(tmp_path), stop=5)
    found = forms(tmp_path, 'epoch_1.pth')
    blocks = {name: form for name, form in found.items() if '.layer' in name}
    assert len(blocks) == 4
    assert blocks['backbone.layer1.1'] == FUSED
    assert gpu == [('auto', torch.float32)]


def test_a_resume_in_another_form_says_so_in_one_line(tmp_path, gpu, monkeypatch):
    train(training(tmp_path), stop=5)
    train(training(tmp_path), resume=True, stop=6)
    assert not any('another form' in line for line in messages(tmp_path))
    monkeypatch.setattr(fused_blocks, 'why_not', lambda *_: f'{fused.ENVIRONMENT}=0')
    train(training(tmp_path), resume=True, stop=6)
    (line,) = (line for line in messages(tmp_path) if 'another form' in line)
    assert 'backbone.layer1.0' in line
    assert ' more take another form: ' in line
    assert 'INIMG_MM_FUSED=0 here' in line


def test_reasons_for_the_plain_form_may_differ(tmp_path):
    train(training(tmp_path, switch=False), stop=5)
    assert set(forms(tmp_path, 'epoch_1.pth').values()) == {
        'plain stem: fused=False',
        'plain end: fused=False',
    }
    train(training(tmp_path, switch='auto'), resume=True, stop=9)
    assert not any('another form' in line for line in messages(tmp_path))
    assert 'plain: there are none for cpu' in forms(tmp_path, 'epoch_2.pth').values()


class Mixed(OptimWrapper):
    """As mmengine's, which wants a GPU."""

    @contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


def test_the_precision_is_that_of_the_optimiser(gpu):
    model = ToyClassifier({**BACKBONE, 'fused': True})
    wrapper = Mixed(torch.optim.SGD(model.parameters(), 0.1))
    found = fused_blocks.forms_of(SimpleNamespace(model=model, optim_wrapper=wrapper))
    assert gpu == [(True, torch.bfloat16)]
    assert found['backbone.layer1.1'] == FUSED
