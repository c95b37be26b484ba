"""A config's `inimg_mm.X` is found from every host in a fresh process, and the hosts keep their own names."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A name that both a host and this package may have.
HOSTS = {'mmdet': ('SCNet', 'ResNet'), 'mmpretrain': ('SEResNet', 'ResNet'), 'mmpose': ('SCNet', 'SEResNet'),
         'mmseg': ('ResNet', 'ResNetV1d')}  # fmt: skip
ORDERS = ['host first', 'ours first', 'another host first']

pytestmark = pytest.mark.slow


def host_param(host, *values):
    missing = importlib.util.find_spec(host) is None
    return pytest.param(host, *values, marks=pytest.mark.skipif(missing, reason=f'{host} is not installed'))


def run(code, *argv, cwd):
    """Run ``code`` in a fresh interpreter that has imported nothing."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    command = [sys.executable, '-W', 'ignore', '-c', textwrap.dedent(code), *argv]
    environment = {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.mark.parametrize('order', ORDERS)
@pytest.mark.parametrize('host', [host_param(host) for host in HOSTS])
def test_host_finds_ours_and_keeps_its_own(host, order, tmp_path):
    other = 'mmpretrain' if host != 'mmpretrain' else 'mmdet'
    first = {
        'host first': '',
        'ours first': 'import inimg_mm.models',
        'another host first': f'import {other}.models',
    }[order]
    if importlib.util.find_spec(other) is None and order == 'another host first':
        pytest.skip(f'{other} is not installed')
    code = f"""
        import sys
        {first}
        from {host}.registry import MODELS
        assert {order!r} == 'ours first' or 'inimg_mm' not in sys.modules
        names = {HOSTS[host]!r}
        own = [MODELS.get(name) for name in names]
        assert all(cls.__module__.startswith({host!r}) for cls in own), own

        net = MODELS.build(dict(type='inimg_mm.SEResNet', depth=18))
        assert type(net).__module__ == 'inimg_mm.models.backbones.resnet', type(net)
        assert MODELS.get('inimg_mm.ResNet').__module__ == 'inimg_mm.models.backbones.resnet'
        assert [MODELS.get(name) for name in names] == own

        from mmengine.registry import DefaultScope, MODELS as ROOT
        for registry in (MODELS, ROOT):
            modules = {{name: getattr(cls, '__module__', '') for name, cls in registry.module_dict.items()}}
            assert not [name for name, module in modules.items() if module.startswith('inimg_mm')]
        with DefaultScope.overwrite_default_scope({host!r}):  # as in a Runner
            assert type(ROOT.build(dict(type='inimg_mm.SEResNet', depth=18))) is type(net)
            assert [ROOT.get(f'{host}.{{name}}') for name in names] == own
        print('built')
    """
    assert 'built' in run(code, cwd=tmp_path)


@pytest.mark.parametrize(
    ('host', 'base'),
    [
        host_param('mmdet', 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'),
        host_param('mmpretrain', 'mmpretrain::resnet/resnet50_8xb32_in1k.py'),
        host_param(
            'mmpose', 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py'
        ),
    ],
)
def test_host_config_with_only_the_backbones_type_changed(host, base, tmp_path):
    (tmp_path / 'delta.py').write_text(
        f'_base_ = {base!r}\nmodel = dict(backbone=dict(type="inimg_mm.CMPESEResNet", init_cfg=None))\n'
    )
    code = f"""
        from mmengine.config import Config
        from mmengine.registry import init_default_scope
        from {host}.registry import MODELS
        cfg = Config.fromfile('delta.py')
        init_default_scope(cfg.get('default_scope', {host!r}))
        model = MODELS.build(cfg.model)
        assert type(model).__module__.startswith({host!r})
        backbone = model.backbone
        assert type(backbone).__module__.startswith('inimg_mm.') and type(backbone).__name__ == 'CMPESEResNet'
        assert backbone.out_channels[-1] == 2048 and backbone.layer1[0].gate.needs_shortcut
        options = cfg.model.backbone
        assert backbone.frozen_stages == options.get('frozen_stages', -1)
        assert backbone.norm_eval == options.get('norm_eval', False)
        every = (3,) if {host!r} in ('mmpretrain', 'mmpose') else (0, 1, 2, 3)
        assert backbone.out_indices == tuple(options.get('out_indices', every))
        print('built')
    """
    assert 'built' in run(code, cwd=tmp_path)


RUN_THE_ZOO = """
    import torch
    torch.set_num_threads(1)
    from inimg_mm import zoo
    families = {model.config['type']: name for name, model in zoo.MODELS.items()}
    for name in families.values():
        options = dict(padding='same') if 'inception' in name else dict(base_channels=32)
        options |= dict(depth=14, alpha=12) if 'pyramid' in name else {}
        net = zoo.build(name, **options).eval()
        with torch.no_grad():
            maps = net(torch.randn(1, 3, 32, 32))
        assert [m.shape[1] for m in maps] == list(net.out_channels), name
    never = 'mmcv._ext', 'mmcv.ops', 'mmdet', 'mmpretrain', 'mmpose', 'mmseg'
    assert not [name for name in never if sys.modules.get(name)]
    print(len(families), 'run')
"""


@pytest.mark.parametrize('missing', [['mmcv._ext'], ['mmdet', 'mmpretrain', 'mmpose', 'mmseg']], ids='-'.join)
def test_every_family_does_without(missing, tmp_path):
    from inimg_mm import zoo

    code = f'import sys\nsys.modules.update(dict.fromkeys({missing!r}))\n' + textwrap.dedent(RUN_THE_ZOO)
    families = {model.config['type'] for model in zoo.MODELS.values()}
    assert f'{len(families)} run' in run(code, cwd=tmp_path)


def test_deformable_convolutions_say_what_they_miss(tmp_path):
    code = """
        import sys
        sys.modules['mmcv._ext'] = None
        from inimg_mm import zoo
        try:
            zoo.build('resnet50', dcn=dict(type='DCNv2'), stage_with_dcn=(False, False, False, True))
        except ImportError as error:
            print(error)
    """
    assert 'needs mmcv with its compiled ops (mmcv._ext)' in run(code, cwd=tmp_path)
