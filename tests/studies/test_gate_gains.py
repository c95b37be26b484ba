"""The comparison of warm-started gates, and the gates' own learning rate."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from inimg_mm import zoo
from inimg_mm.studies import gate_gains

PARTS = dict(depth=18, base_channels=16)
CONFIG = dict(
    default_scope='mmpretrain',
    model=dict(
        type='ImageClassifier',
        backbone=dict(type='inimg_mm.SEResNet', **PARTS),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead', num_classes=3, in_channels=128, init_cfg=dict(type='Constant', val=0)
        ),
    ),
    train_cfg=dict(by_epoch=True, max_epochs=12, val_interval=4),
    param_scheduler=[
        dict(type='LinearLR', by_epoch=False, end=100),
        dict(type='CosineAnnealingLR', T_max=12, end=12),
    ],
    optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
)


@pytest.mark.parametrize('attention', [gate for gate in gate_gains.COMPARED.values() if gate], ids=str)
def test_gates_have_their_own_learning_rate(attention):
    net = nn.Module()
    net.backbone = zoo.build('resnet18', base_channels=16, attention=attention)
    wrapper = build_optim_wrapper(
        net,
        dict(
            optimizer=dict(type='SGD', lr=0.01),
            paramwise_cfg=dict(custom_keys=gate_gains.GATE_LR),
        ),
    )
    gates = {id(p) for m in net.modules() if hasattr(m, 'gate_module') for p in m.gate_module.parameters()}
    assert gates
    for group in wrapper.param_groups:
        for parameter in group['params']:
            assert group['lr'] == pytest.approx(0.1 if id(parameter) in gates else 0.01)


@pytest.mark.parametrize('name', gate_gains.COMPARED)
def test_a_warm_start_carries_the_whole_model(tmp_path, name):
    pytest.importorskip('mmpretrain', reason='the classifier is of mmpretrain (extra mm)')
    plain = str(tmp_path / 'plain.pth')
    gate_gains._save_initial(gate_gains._scratch(Config(CONFIG), None, 0, 5), plain)
    state = torch.load(plain)['state_dict']
    state['head.fc.weight'].normal_()
    torch.save({'state_dict': state}, plain)

    cfg = gate_gains._warm(Config(CONFIG), gate_gains.COMPARED[name], 0, 3, plain)
    assert cfg.train_cfg == dict(by_epoch=True, max_epochs=3, val_interval=3)
    assert [cfg.param_scheduler[1][key] for key in ('T_max', 'end')] == [3, 3]
    assert cfg.param_scheduler[0].end == 100
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1e-4)
    from mmpretrain.registry import MODELS

    images = torch.randn(2, 3, 64, 64)
    answers = []
    for settings, initialise in ((gate_gains._scratch(Config(CONFIG), None, 0, 5), False), (cfg, True)):
        model = MODELS.build(settings.model)
        model.init_weights() if initialise else model.load_state_dict(state)
        answers.append(model.eval()(images, mode='tensor')[0])
    assert torch.equal(*answers)


def test_table(tmp_path):
    for number, gate in enumerate(gate_gains.COMPARED):
        for seed in (0, 1):
            for start in ('warm', 'scratch'):
                folder = gate_gains._folder(tmp_path, gate, start, seed)
                folder.mkdir(parents=True)
                found = dict(start={'top-1 %': 50.0 + seed}, end={'top-1 %': 60.0 + 2 * seed + number})
                (folder / 'result.json').write_text(json.dumps(found))
    rows = gate_gains.table(tmp_path, [0, 1]).splitlines()
    assert rows[2] == '| none | top-1 % | 50.5 ± 0.7 | 61.0 ± 1.4 | |'
    assert rows[3] == '| SE | top-1 % | 50.5 ± 0.7 | 62.0 ± 1.4 | 62.0 ± 1.4 |'
    assert {row.count('|') for row in rows} == {6}
