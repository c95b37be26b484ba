"""tools/check_config.py finds what would spoil a training, and says which line to change."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inimg_mm import zoo
from inimg_mm.checking.channels import misfits
from inimg_mm.checking.config import check_config
from inimg_mm.checking.findings import NOTE, OK, Finding
from inimg_mm.checking.outline import Outline
from inimg_mm.checking.remedies import options_of
from inimg_mm.errors import UsageError
from inimg_mm.launch import load_config
from inimg_mm.models.backbones import ResNet
from inimg_mm.registry import MODELS, build_model

pytest.importorskip('mmdet', reason='the configs are of mmdet and mmpretrain (extra mm)')
pytest.importorskip('mmpretrain', reason='the configs are of mmdet and mmpretrain (extra mm)')

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / 'configs' / 'demo'
DETECTOR = DEMO / 'faster-rcnn_cmpese-r18_fpn_digits.py'
CLASSIFIER = DEMO / 'se-r18_digits.py'
LOADING = dict(type='inimg_mm.Pretrained')
PLAIN = dict(type='inimg_mm.ResNet', depth=18, base_channels=32)


@MODELS.register_module()
class ForgetfulResNet(ResNet):
    """Starts its stem anew after everything was loaded."""

    def init_weights(self):
        super().init_weights()
        torch.nn.init.normal_(self.conv1.weight)


@MODELS.register_module()
class ThawingResNet(ResNet):
    """Freezes nothing."""

    def _freeze(self):
        pass


@MODELS.register_module()
class FirstMap(torch.nn.Module):
    """A neck that pools the first map and reads no other."""

    def forward(self, maps):
        return (maps[0].mean((2, 3)),)


def classifier(backbone=None, **options):
    cfg = load_config(CLASSIFIER, options)
    if backbone:
        cfg.model.backbone = backbone
    return cfg


def faults(cfg, **options):
    return [finding for finding in check_config(cfg, size=(64, 64), **options) if finding.fault]


@pytest.fixture
def weights(tmp_path):
    def save(name='resnet18', prefix='', **options):
        path = tmp_path / f'{name}.pth'
        state = zoo.build(name, base_channels=32, **options).state_dict()
        torch.save({prefix + key: value for key, value in state.items()}, path)
        return str(path)

    return save


@pytest.mark.slow
@pytest.mark.parametrize('path', sorted(DEMO.glob('*.py')), ids=lambda path: path.stem)
def test_sound_configs_pass(path):
    if path.stem.startswith('td-hm'):
        pytest.importorskip('mmpose', reason='the keypoint configs are of mmpose (extra pose)')
    cfg = load_config(path)
    before = cfg.pretty_text
    findings = check_config(cfg)
    assert [finding for finding in findings if finding.fault] == []
    checks = {finding.check for finding in findings} - {'classes', 'joints'}
    assert checks == {'model', 'channels', 'weights', 'frozen', 'gradients', 'step'}
    assert cfg.pretty_text == before


def test_wrong_neck_channels():
    (channels, model) = faults(load_config(DETECTOR, {'model.neck.in_channels': [32, 64, 128, 512]}))
    assert 'expects [32, 64, 128, 512]' in channels.text
    assert channels.remedy == 'model.neck.in_channels=[32,64,128,256]'
    assert 'goes no further' in model.text


def test_a_map_too_few_for_the_neck():
    cfg = load_config(DETECTOR)
    cfg.model.backbone.out_indices = (1, 2, 3)
    assert faults(cfg)[0].remedy == 'model.neck.in_channels=[64,128,256]'


def test_wrong_head_channels():
    assert faults(classifier(**{'model.head.in_channels': 512}))[0].remedy == 'model.head.in_channels=256'
    cfg = load_config(DETECTOR, {'model.rpn_head.in_channels': 256})
    assert faults(cfg)[0].remedy == 'model.rpn_head.in_channels=64'


def test_each_head_that_does_not_fit(segmentation):
    """A remedy names what the first fault hides: the other map that a head reads, and the other heads."""
    cfg = load_config(segmentation)
    wide = dict(cfg.model.decode_head, type='FCNHead')
    cfg.model.auxiliary_head = [dict(wide, in_channels=7, in_index=index) for index in (0, 1)]
    fault = faults(cfg)[0]
    assert re.fullmatch(
        r'model.auxiliary_head.0.in_channels=\d+ model.auxiliary_head.1.in_channels=\d+', fault.remedy
    )
    for path, value in options_of(fault.remedy).items():
        cfg.merge_from_dict({path: value})
    assert not faults(cfg)


def test_a_second_map_of_a_head(segmentation):
    cfg = load_config(segmentation)
    shared = {key: cfg.model.decode_head[key] for key in ('channels', 'num_classes', 'norm_cfg')}
    cfg.model.decode_head = dict(
        shared,
        type='DepthwiseSeparableASPPHead',
        in_channels=7,
        in_index=3,
        c1_in_channels=7,
        c1_channels=4,
        dilations=(1, 2),
    )
    assert re.fullmatch(
        r'model.decode_head.in_channels=\d+ model.decode_head.c1_in_channels=\d+', faults(cfg)[0].remedy
    )


def test_what_a_model_hands_to_its_backbone(segmentation):
    """mmseg's ``pretrained`` of a model is looked at as the backbone's file, and left out where asked."""
    cfg = load_config(segmentation, {'model.pretrained': 'nowhere.pth'})
    (fault,) = faults(cfg)
    assert fault.text.startswith('model.backbone: ')
    assert 'nowhere.pth' in fault.text
    assert fault.remedy == 'model.pretrained=None to train from scratch'
    assert not faults(cfg, init=False)


def test_backbones_inside_backbones():
    """BiSeNet's stands in its context path: it is looked at as any other."""
    mmseg = pytest.importorskip('mmseg')
    name = 'bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py'
    cfg = load_config(Path(str(mmseg.__file__)).parent / '.mim' / 'configs' / 'bisenetv1' / name)
    cfg.model.backbone.backbone_cfg.type = 'inimg_mm.SEResNet'
    found = {finding.check: finding for finding in check_config(cfg, size=(64, 64), init=False)}
    assert found['model'].text.startswith('EncoderDecoder with SEResNet, ')
    assert found['frozen'].text == 'nothing'
    assert found['gradients'].state is OK


def test_necks_in_a_row():
    cfg = load_config(DETECTOR)
    first = dict(cfg.model.neck)
    cfg.model.neck = [first, dict(type='BFP', in_channels=64, num_levels=5, refine_level=2)]
    assert not faults(cfg)
    cfg.model.neck = [dict(first, in_channels=[1, 2, 3, 4]), *cfg.model.neck[1:]]
    assert faults(cfg)[0].remedy == 'model.neck.0.in_channels=[32,64,128,256]'


def test_a_neck_that_does_not_run():
    (fault,) = faults(load_config(DETECTOR, {'model.neck.upsample_cfg': dict(mode='none')}))
    assert fault.text.startswith('goes no further: NotImplementedError: ')
    assert '\n' not in fault.text


def test_a_map_that_is_not_there(segmentation):
    cfg = load_config(segmentation, {'model.decode_head.in_index': 4})
    (fault, _) = faults(cfg)
    assert fault.text == 'model.decode_head reads maps [4], and the backbone gives 4'
    assert fault.remedy == 'model.decode_head.in_index=3'


@pytest.mark.parametrize('size', [(0, 64), (64, -1)])
def test_images_without_pixels(size):
    with pytest.raises(UsageError, match=rf'at least 1 pixel, got \({size[0]}, {size[1]}\)'):
        check_config(classifier(), size=size)


def test_refused_argument():
    (fault,) = faults(classifier(dict(PLAIN, depth=17)))
    assert 'depth' in fault.text
    assert '18' in fault.text


def test_right_checkpoint(weights):
    cfg = classifier(dict(PLAIN, init_cfg=dict(type='Pretrained', checkpoint=weights())))
    findings = check_config(cfg, size=(64, 64))
    assert not any(finding.fault for finding in findings)
    assert any('model.backbone holds its file: ' in finding.text for finding in findings)


def test_warm_start(weights):
    init_cfg = dict(type='inimg_mm.Pretrained', checkpoint=weights(), warm_start=True)
    assert not faults(classifier(dict(PLAIN, attention=dict(type='SE'), init_cfg=init_cfg)))


@pytest.mark.parametrize('name', ['resnet34', 'seresnet18'])
def test_wrong_checkpoint(weights, name):
    file = weights(name)
    (fault,) = faults(classifier(dict(PLAIN, init_cfg=dict(type='Pretrained', checkpoint=file))))[:1]
    assert fault.check == 'weights'
    assert file in fault.text
    remedies = dict(resnet34='depth=34', seresnet18="attention=dict(type='SE')")
    assert fault.remedy == f'model.backbone.{remedies[name]}'
    cfg = classifier(dict(PLAIN, init_cfg=dict(type='Pretrained', checkpoint=file)))
    assert not faults(cfg, init=False)


def test_what_to_write_for_weights_that_nearly_fit(weights):
    options = dict(attention=dict(type='SE'), frozen_stages=1)
    wrong = [dict(checkpoint=weights()), dict(checkpoint=weights(), warm_start=True)]
    remedies = [faults(classifier(dict(PLAIN, **options, init_cfg=LOADING | w)))[0].remedy for w in wrong]
    loading = f"dict(type='inimg_mm.Pretrained', checkpoint={weights()!r}, warm_start=True)"
    assert remedies == [
        f'model.backbone.init_cfg={loading}',
        'model.backbone.attention.stages=(False,True,True,True)',
    ]


def test_a_share_that_is_asked_for(weights):
    path = weights()
    torch.save({k: v for k, v in torch.load(path).items() if not k.startswith('layer4')}, path)
    assert faults(classifier(dict(PLAIN, init_cfg=dict(LOADING, checkpoint=path))))
    assert not faults(classifier(dict(PLAIN, init_cfg=dict(LOADING, checkpoint=path, min_loaded=0.7))))


@pytest.mark.parametrize('options', [dict(checkpoint='x.pth', share=1), {}], ids=str)
def test_options_of_the_initialiser(options):
    (fault,) = faults(classifier(dict(PLAIN, init_cfg=dict(LOADING, **options))))
    assert 'model.backbone: TypeError: Pretrained.__init__()' in fault.text


def test_load_from(weights, tmp_path):
    cfg = classifier(dict(PLAIN), load_from=weights())
    assert "without the prefix 'backbone.'" in faults(cfg)[0].text
    cfg.load_from = weights('resnet18', prefix='backbone.')  # a head for other classes may be missing
    assert not faults(cfg)
    cfg.load_from = str(tmp_path / 'none.pth')
    assert 'there is no checkpoint' in faults(cfg)[0].text


def test_wrong_checkpoint_of_a_hosts_backbone(weights):
    init_cfg = dict(type='Pretrained', checkpoint=weights('resnet18', prefix='encoder.'))
    cfg = classifier(
        dict(type='mmpretrain.ResNet', depth=18, stem_channels=32, base_channels=32, init_cfg=init_cfg)
    )
    (fault,) = faults(cfg)
    assert '0 of 100 tensors' in fault.text
    assert fault.remedy == "model.backbone.init_cfg.prefix='encoder.'"


def test_missing_file():
    (fault,) = faults(classifier(dict(PLAIN, init_cfg=dict(type='Pretrained', checkpoint='no/file.pth'))))[:1]
    assert 'no/file.pth' in fault.text


def test_weights_overwritten_after_loading(weights):
    backbone = dict(PLAIN, type='inimg_mm.ForgetfulResNet')
    backbone['init_cfg'] = dict(type='Pretrained', checkpoint=weights())
    (fault,) = faults(classifier(backbone))
    assert fault.text == '1 tensors of model.backbone are overwritten after its file was loaded: 1 conv1.*'


def test_prefix_lost(weights, tmp_path):
    file = weights()
    (fault,) = faults(classifier(dict(PLAIN)), checkpoint=file)
    assert "without the prefix 'backbone.'" in fault.text
    assert fault.remedy.startswith('model.backbone.init_cfg=dict(')

    whole = str(tmp_path / 'whole.pth')
    cfg = classifier(dict(PLAIN))
    from mmpretrain.registry import MODELS as HOST

    state = HOST.build(cfg.model).state_dict()
    torch.save({'state_dict': state}, whole)
    assert not faults(cfg, checkpoint=whole)
    (fault,) = faults(cfg, checkpoint=weights('resnet34', prefix='backbone.'))
    assert 'is of another model' in fault.text


def inception(**options):
    """The classifier with Inception-v3 in the place of its backbone."""
    backbone = dict(type='inimg_mm.InceptionV3', padding='same', out_indices=(1,), **options)
    return classifier(backbone, **{'model.head.in_channels': 288})


def test_frozen_parts_of_inception():
    findings = check_config(inception(frozen_stages=1), size=(64, 64))
    stem = 'Conv2d_1a_3x3, Conv2d_2a_3x3, Conv2d_2b_3x3'
    text = f'{stem}, Conv2d_3b_1x1, Conv2d_4a_3x3 (frozen_stages=1)'
    assert Finding('frozen', OK, text) in findings


def test_unused_stage_of_inception():
    cfg = inception()
    cfg.model.backbone.out_indices = (1, 2)
    cfg.model.neck = dict(type='inimg_mm.FirstMap')
    (fault,) = faults(cfg)
    assert fault.check == 'gradients'
    assert 'backbone.Mixed_6a' in fault.text
    assert fault.remedy == 'model.backbone.out_indices=[1]'


def test_unused_stage():
    cfg = load_config(DETECTOR, {'model.neck.end_level': 2, 'model.neck.num_outs': 3})
    cfg.model.rpn_head.anchor_generator.strides = [4, 8, 16]
    cfg.model.roi_head.bbox_roi_extractor.featmap_strides = [4, 8, 16]
    (fault,) = faults(cfg)
    assert fault.check == 'gradients'
    assert 'backbone.layer4' in fault.text
    assert fault.remedy == 'model.backbone.out_indices=[0,1,2] model.neck.in_channels=[32,64,128]'
    known = copy.deepcopy(cfg)
    known.find_unused_parameters = True
    assert not faults(known)
    cfg.model.backbone.out_indices = [0, 1, 2]
    assert faults(cfg)[0].remedy == 'model.neck.in_channels=[32,64,128]'
    cfg.model.neck.in_channels = [32, 64, 128]
    cfg.model.neck.pop('end_level')
    assert not faults(cfg)


def test_synchronised_norms_on_a_cpu():
    first, *others = check_config(classifier(dict(PLAIN, norm_cfg=dict(type='SyncBN'))), size=(64, 64))
    assert (first.check, first.state) == ('norms', NOTE)
    assert 'model.backbone.norm_cfg' in first.text
    assert not any(finding.fault for finding in others)


def test_frozen_parts():
    findings = check_config(classifier(dict(PLAIN, frozen_stages=1)), size=(64, 64))
    assert Finding('frozen', OK, 'conv1, bn1, layer1 (frozen_stages=1)') in findings
    (_, fault) = faults(classifier(dict(PLAIN, type='inimg_mm.ThawingResNet', frozen_stages=1)))
    assert fault.check == 'frozen'
    assert '1 parameters of conv1 learn and 0 of its norms move' in fault.text


def test_keypoints_that_are_regressed(tmp_path):
    pytest.importorskip('mmpose')
    base = 'topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192.py'
    backbone = dict(PLAIN, _delete_=True, out_indices=(3,))
    model = dict(backbone=backbone, head=dict(in_channels=256))
    (tmp_path / 'config.py').write_text(f"_base_ = 'mmpose::body_2d_keypoint/{base}'\nmodel = {model!r}\n")
    assert not faults(load_config(tmp_path / 'config.py'))


def test_infinite_loss():
    cfg = classifier(dict(PLAIN), **{'data_preprocessor.std': [0.0, 0.0, 0.0]})
    (fault,) = faults(cfg)
    assert fault.check == 'step'


SECOND_STAGE = {
    'model.roi_head.bbox_head.in_channels': (128, 'mat1 and mat2'),
    'model.roi_head.bbox_roi_extractor.out_channels': (32, 'shape mismatch'),
}


@pytest.mark.parametrize('option', SECOND_STAGE)
def test_a_second_stage_that_does_not_fit(option):
    wrong, message = SECOND_STAGE[option]
    (fault,) = faults(load_config(DETECTOR, {option: wrong}))
    assert 'goes no further: RuntimeError' in fault.text
    assert message in fault.text
    assert fault.remedy == f'{option}=64'


def test_an_unknown_optimizer():
    (fault,) = faults(classifier(**{'optim_wrapper.optimizer.type': 'Nope'}))
    assert fault.text.startswith('goes no further: the optimizer cannot be built: ')


def test_exit_status_and_words():
    command = [
        sys.executable,
        '-W',
        'ignore',
        ROOT / 'tools' / 'check_config.py',
        CLASSIFIER,
        '--size',
        '64',
        '64',
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'FAULT' not in done.stdout
    done = subprocess.run(
        [*command, '--cfg-options', 'model.head.in_channels=512'], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert 'FAULT' in done.stdout
    assert 'channels: write model.head.in_channels=256' in done.stdout
    done = subprocess.run([*command[:4], 'no.py'], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith('error: there is no config file no.py\n')


def test_channels_at_the_start_of_a_training():
    """The same is said without a weight being made."""
    (fault,) = misfits(Outline(load_config(DETECTOR, {'model.neck.in_channels': [32, 64, 128, 512]})))
    assert fault.remedy == 'model.neck.in_channels=[32,64,128,256]'
    assert misfits(Outline(load_config(DETECTOR))) == []


def test_a_norm_that_does_not_learn_and_is_zero():
    backbone = dict(type='mmpretrain.ResNet', depth=18, stem_channels=32, base_channels=32, out_indices=(3,))
    cfg = classifier(dict(backbone, norm_cfg=dict(type='BN', requires_grad=False), zero_init_residual=True))
    (fault,) = faults(cfg)
    assert fault.check == 'gradients'
    assert 'exactly zero, and they stay so, for ' in fault.text
    assert fault.remedy == 'model.backbone.norm_cfg.requires_grad=True'
    assert not faults(classifier(dict(backbone, zero_init_residual=True)))


def test_another_backbone_of_the_same_shapes(tmp_path):
    cfg, other = classifier(dict(PLAIN)), classifier(dict(PLAIN, dilations=(1, 1, 1, 2)))
    path = str(tmp_path / 'other.pth')
    torch.save(dict(meta=dict(cfg=other.pretty_text), state_dict=build_model(other).state_dict()), path)
    (fault,) = faults(cfg, checkpoint=path)
    assert 'model.backbone.dilations is [1, 1, 1, 1] here and [1, 1, 1, 2] there' in fault.text
    assert fault.remedy == 'model.backbone.dilations=[1,1,1,2]'
    assert not faults(other, checkpoint=path)


def test_groups_that_do_not_fit():
    (fault,) = faults(classifier(dict(PLAIN, norm_cfg=dict(type='GN'))))
    assert "norm_cfg=dict(type='GN') lacks num_groups" in fault.text
    (fault,) = faults(classifier(dict(PLAIN, base_channels=8, norm_cfg=dict(type='GN', num_groups=32))))
    assert 'conv1, which has 8 channels: write num_groups=8' in fault.text
