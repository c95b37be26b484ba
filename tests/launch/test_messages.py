"""Names that no registry knows, and what a runner logs of itself, which comes after errors."""

import io
import logging
import re

import pytest
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import FlexibleRunner

from helpers import toy_training
from helpers.tooling import CONFIGS, DETECTOR, QUICKEST, call_tool
from inimg_mm.errors import UsageError
from inimg_mm.launch.cli import mistakes_in_one_line
from inimg_mm.launch.configs import load_config
from inimg_mm.launch.errors_first import HeldOutput, warnings_kept
from inimg_mm.launch.runs import build_runner
from inimg_mm.registry import build_model, unknown_types_named

# ---- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('registry', 'name', 'message'),
    [
        (MODELS, 'inimg_mm.SCNett', "no model 'inimg_mm.SCNett' in inimg_mm; near it: inimg_mm.SCNet"),
        (MODELS, 'SEResNeXt', "no model 'SEResNeXt' in mmengine: write type='inimg_mm.SEResNeXt'"),
        (MODELS, 'inimg.SCNet', "no model 'inimg.SCNet' in inimg: write type='inimg_mm.SCNet'"),
        (MODELS, 'inimg_mm.FCNSkipNeck', 'near it: inimg_mm.FCNSkipHead'),
        (MODELS, 'inimg_mm.Quux', 'in inimg_mm, which has inimg_mm.SE, inimg_mm.InnerImaging, '),
        (MODELS, 'Quux', "no model 'Quux' in mmengine, and none with a name like it"),
        (HOOKS, 'inimg_mm.ExactResume', 'near it: inimg_mm.ExactResumeHook'),
        (HOOKS, 'CheckpointHok', 'near it: CheckpointHook, inimg_mm.SafeCheckpointHook'),
    ],
)
def test_unknown_names(registry, name, message):
    with pytest.raises(UsageError, match=re.escape(message)), unknown_types_named(Config()):
        registry.build(dict(type=name))


def test_other_errors_stay():
    inner = TypeError("Inner.__init__() got an unexpected keyword argument 'depth'")
    for error in (KeyError('a bug'), KeyError(), TypeError('a bug'), inner):
        with pytest.raises(type(error)) as caught, unknown_types_named(Config(dict(model=dict(type='Toy')))):
            raise error
        assert caught.value is error


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        ('SEResNet', "there is no model 'SEResNet' in mmdet: write type='inimg_mm.SEResNet'"),
        (
            'SCNet',
            r"backbone\.type='SCNet' is another class of mmdet's.*the backbone is type='inimg_mm.SCNet'",
        ),
        ('inimg_mm.CMPSEResNet', r'near it: inimg_mm.CMPESEResNet'),
        ('Res2Nett', r'near it: (\w+, )*Res2Net'),
    ],
)
def test_a_backbone_by_a_wrong_name(kind, message):
    pytest.importorskip('mmdet')
    cfg = load_config(CONFIGS[DETECTOR], {'model.backbone.type': kind})
    with pytest.raises(UsageError, match=message):
        build_model(cfg)


def test_a_hosts_backbone_of_the_same_name_refuses_its_depth():
    pytest.importorskip('mmpose')
    cfg = load_config(CONFIGS['td-hm_se-r18_digits-96x96'], {'model.backbone.type': 'SEResNet'})
    message = r"type='SEResNet' is another class of mmpose's.*\(invalid depth 18.*type='inimg_mm.SEResNet'$"
    with pytest.raises(UsageError, match=message):
        build_model(cfg)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'model.neck.in_chanels': [1]}, "^model.neck: FPN has no argument 'in_chanels'$"),
        ({'model.backbone': dict(type='inimg_mm.SCNet')}, "^model.backbone: SCNet needs 'depth'$"),
        ({'model.neck': dict(type='FPN', num_outs=5)}, "^model.neck: FPN needs 'in_channels' and 'out_ch"),
    ],
)
def test_arguments_that_a_class_does_not_take(options, message):
    pytest.importorskip('mmdet')
    cfg = load_config(CONFIGS[DETECTOR])
    for place, value in options.items():
        *parts, last = place.split('.')
        node = cfg
        for part in parts:
            node = node[part]
        node[last] = value
    with pytest.raises(UsageError, match=message):
        build_model(cfg)


# ---- errors first ---------------------------------------------------------------------------------------


def test_held_output():
    stream = io.StringIO()
    output = HeldOutput(stream)
    print('config', file=output, flush=True)
    assert stream.getvalue() == ''
    output.pass_on()
    print('data', file=output)
    output.show()
    output.show()
    assert stream.getvalue() == 'data\nconfig\n'
    assert not output.isatty()


@pytest.mark.parametrize('flexible', [False, True])
def test_the_config_is_shown_when_the_training_begins(tmp_path, capsys, flexible):
    cfg = toy_training.config(
        tmp_path, log_level='INFO', default_scope='mmengine', experiment_name=f'shown{flexible}'
    )
    if flexible:
        cfg.runner_type = FlexibleRunner.__name__
    with warnings_kept() as warnings:
        print_log('too little', 'current', logging.WARNING)
        print_log('by the way', 'current', logging.INFO)
    runner = build_runner(cfg, 'none', warnings)
    assert 'Config:' not in capsys.readouterr().out
    runner.train()
    shown = capsys.readouterr().out
    assert shown.count('Config:') == 1
    assert shown.index('System environment:') < shown.index('Config:') < shown.index('Epoch(train)')
    (log,) = tmp_path.glob('*/*.log')
    assert log.read_text().count('Config:') == 1
    for text in (shown, log.read_text()):
        assert text.index('Config:') < text.index('too little') < text.index('Epoch(train)')
        assert 'by the way' not in text


def test_an_error_comes_without_the_config(tmp_path, capsys):
    cfg = toy_training.config(tmp_path, log_level='INFO', default_scope='mmengine', experiment_name='failed')
    cfg.model.type = 'Toyy'
    with pytest.raises(SystemExit), mistakes_in_one_line(), unknown_types_named(cfg):
        build_runner(cfg, 'none')
    out, error = capsys.readouterr()
    assert out == ''
    assert error == "error: there is no model 'Toyy' in mmengine; near it: Toy\n"
    (log,) = tmp_path.glob('*/*.log')
    assert 'Config:' in log.read_text()


@pytest.mark.parametrize(
    'option',
    [
        'model.backbone.type=inimg_mm.SEResNett',
        'default_hooks.timer.type=inimg_mm.ExactResume',
        'optim_wrapper.optimizer.type=AdamWW',
        'param_scheduler.1.type=CosineAnealingLR',
    ],
)
def test_train_says_it_in_one_line(monkeypatch, capsys, folder, option):
    monkeypatch.chdir(folder)
    arguments = [CONFIGS[QUICKEST], '--work-dir', folder / 'unknown', '--cfg-options', option]
    with pytest.raises(SystemExit) as stop:
        call_tool(monkeypatch, 'train.py', *arguments)
    out, error = capsys.readouterr()
    assert stop.value.code == 2
    assert 'Config:' not in out
    assert error.splitlines()[-1].startswith('error: there is no ')
