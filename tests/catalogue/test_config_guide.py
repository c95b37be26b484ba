"""What configs/README.md says: every snippet is built, every command is there."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import torch

from helpers.own_data import write_coco
from helpers.pretrained import save
from helpers.readmes import parse
from helpers.tooling import ROOT
from inimg_mm import zoo
from inimg_mm.__main__ import main
from inimg_mm.launch.configs import load_config
from inimg_mm.models.backbones import Backbone
from inimg_mm.registry import build_model

TEXT = (ROOT / 'configs' / 'README.md').read_text()
SNIPPETS = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)
COMMANDS = [
    line for block in re.findall(r'```bash\n(.*?)```', TEXT, re.DOTALL) for line in block.splitlines()
]


@pytest.fixture
def snippet(tmp_path, monkeypatch):
    """Write a snippet into a folder that has nothing else and read it as the tools do."""
    monkeypatch.chdir(tmp_path)

    def read(words, **names):
        (text,) = (text for text in SNIPPETS if words in text)
        for old, new in names.items():
            text = re.sub(rf'path/to/{old}(\.pth)?', str(new), text)
        Path('mine.py').write_text(text)
        return load_config('mine.py')

    return read


def test_there_are_snippets():
    assert len(SNIPPETS) == 8
    assert len(COMMANDS) == 4


def test_a_base_by_scope(snippet):
    pytest.importorskip('mmdet')
    cfg = snippet('batch_size=4')
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.model.backbone.type == 'inimg_mm.SCNet'


def test_own_data_over_a_copy(snippet, tmp_path):
    pytest.importorskip('mmdet')
    from inimg_mm import catalogue
    from inimg_mm.catalogue.copying import copy_config

    copy_config(catalogue.get('demo/faster-rcnn_cmpese-r18_fpn_digits'), Path('my_detector.py'), False)
    assert '_base_' not in Path('my_detector.py').read_text()
    categories = [dict(id=index, name=name) for index, name in enumerate(('cat', 'dog'), 1)]
    write_coco(tmp_path / 'data', categories, dict(train=[(40, 30)], val=[(40, 30)]))
    cfg = snippet('my_detector', data=tmp_path / 'data')
    assert cfg.model.roi_head.bbox_head.num_classes == 2


def test_half_the_epochs(snippet):
    pytest.importorskip('mmdet')
    cfg = snippet('max_epochs=6')
    assert [scheduler.end for scheduler in cfg.param_scheduler] == [500, cfg.train_cfg.max_epochs]
    assert max(cfg.param_scheduler[1].milestones) < 6


def test_a_shallower_net_from_scratch(snippet):
    pytest.importorskip('mmdet')
    model = build_model(snippet('depth=18')).train()
    assert model.neck.in_channels == list(model.backbone.out_channels)
    assert all(parameter.requires_grad for parameter in model.backbone.parameters())
    assert model.backbone.bn1.training
    assert 'checkpoint' not in str(model.backbone.init_cfg)


def test_the_channels_in_the_table():
    for channels, depth in re.findall(r'([\d, ]+\d) (from 50 layers on|below)', TEXT):
        net = zoo.build('resnet18' if depth == 'below' else 'resnet50')
        assert tuple(int(number) for number in channels.split(',') if number.strip()) == net.out_channels


def test_weights_that_have_gates(snippet, tmp_path):
    pytest.importorskip('mmdet')
    gated = zoo.build('cmpese_resnet50_pair_1x1')
    with torch.no_grad():
        gated.layer4[2].gate.last_layer.weight.fill_(0.5)
    cfg = snippet('gated.pth', gated=save(tmp_path, gated))
    backbone = build_model(cfg).backbone
    backbone.init_weights()
    assert torch.equal(backbone.layer4[2].gate.last_layer.weight, gated.layer4[2].gate.last_layer.weight)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('host', 'words', 'plain'),
    [
        ('mmpretrain', 'imagenet/se-r50', 'inimg_mm::imagenet/r50_8xb32_in1k'),
        (
            'mmpose',
            'td-hm_se-r50',
            'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py',
        ),
    ],
)
def test_a_whole_model_goes_on_with_gates(snippet, tmp_path, host, words, plain):
    pytest.importorskip(host)
    (tmp_path / 'plain.py').write_text(f"_base_ = '{plain}'\nmodel = dict(backbone=dict(init_cfg=None))\n")
    trained = build_model(load_config('plain.py'))
    trained.init_weights()
    gated = build_model(snippet(words, plain=save(tmp_path, dict(state_dict=trained.state_dict()))))
    gated.init_weights()
    assert isinstance(gated.backbone, Backbone)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, found = (net.eval()(image, None, mode='tensor') for net in (trained, gated))
    assert torch.equal(expected, found)


def test_a_pure_python_config_over_a_copied_twin(snippet):
    pytest.importorskip('mmpretrain')
    (line,) = (line for line in COMMANDS if '--copy' in line)
    assert main(shlex.split(line)[3:]) == 0
    cfg = snippet('read_base')
    assert cfg.model.head.num_classes == 3
    assert cfg.model.backbone.type == 'inimg_mm.models.backbones.CMPESEResNet'


# ---- commands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('line', [line for line in COMMANDS if line.startswith('python tools/')])
def test_tools_take_their_arguments(line, monkeypatch):
    parsed = parse(monkeypatch, shlex.split(line)[1:])
    assert (ROOT / parsed.config).is_file()
    assert parsed.checkpoint is None


@pytest.mark.parametrize('line', [line for line in COMMANDS if '.mim' in line])
def test_the_hosts_scripts_are_there(line):
    (named,) = re.findall(r'import (\w+)', line)
    pytest.importorskip(named)
    for host in (named, 'mmpose', 'mmseg'):
        if spec := importlib.util.find_spec(host):
            for script in ('train.py', 'test.py'):
                assert (Path(spec.origin).parent / '.mim' / 'tools' / script).is_file()
    assert (ROOT / line.split()[-1]).is_file()


def test_linked_files_exist():
    for link in re.findall(r'\]\((?!http)([^)#]+)\)', TEXT):
        assert (ROOT / 'configs' / link).is_file(), link
