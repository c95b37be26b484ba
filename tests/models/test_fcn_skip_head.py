"""The FCN skip head: its sums and upsampling against plain loops, in mmseg's models, and without mmseg."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from torch.nn import functional as F

pytest.importorskip('mmseg', reason='the head is of mmseg (extra seg)')

from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from inimg_mm.models.heads.fcn_skip import DoublingUpsample, FCNSkipHead

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (4, 6, 8, 10)
CLASSES = 3


def head(skips, **options):
    """A head in eval mode with every parameter random, in double precision."""
    net = FCNSkipHead(WIDTHS, num_classes=CLASSES, skips=skips, **options).double().eval()
    generator = torch.Generator().manual_seed(skips)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return net


def maps(height, width, batch=2):
    """The backbone's maps of an image, at strides 4 to 32."""
    generator = torch.Generator().manual_seed(1)
    sizes = [(-(-height // stride), -(-width // stride)) for stride in (4, 8, 16, 32)]
    return [
        torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64)
        for channels, size in zip(WIDTHS, sizes, strict=True)
    ]


# ---- a second implementation, from the formulas ---------------------------------------------------------


def score(feature, weight, bias):
    """A 1x1 convolution: K scores of every pixel."""
    return np.einsum('nchw,kc->nkhw', feature, weight[:, :, 0, 0]) + bias[:, None, None]


def double(scores, kernel, height, width):
    """Upsampling by 2, pixel by pixel.

    The centre of output row o lies at (o + 1/2) / 2 - 1/2 in rows of the input. The rows around it that are
    less than a 4-row kernel away (o = 2 i + k - 1) contribute their kernel row k; rows beyond the border
    are the border's.
    """
    batch, channels, rows, columns = scores.shape
    result = np.zeros((batch, kernel.shape[1], height, width))
    for o in range(height):
        for p in range(width):
            for i in range(-1, rows + 1):
                for j in range(-1, columns + 1):
                    k, m = o - 2 * i + 1, p - 2 * j + 1
                    if 0 <= k < 4 and 0 <= m < 4:
                        source = scores[:, :, np.clip(i, 0, rows - 1), np.clip(j, 0, columns - 1)]
                        result[:, :, o, p] += source @ kernel[:, :, k, m]
    return result


def plain(net, features, skips):
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    features = [feature.numpy() for feature in features]
    result = score(features[3], state['conv_seg.weight'], state['conv_seg.bias'])
    for index in range(skips):
        finer = features[2 - index]
        result = double(result, state[f'upsamplers.{index}.weight'], *finer.shape[2:])
        result += score(finer, state[f'scorers.{index}.weight'], state[f'scorers.{index}.bias'])
    return result


@pytest.mark.parametrize('size', [(64, 96), (97, 65), (33, 160)], ids=str)
@pytest.mark.parametrize('skips', [0, 1, 2, 3])
def test_sums_of_scores(skips, size):
    features = maps(*size)
    net = head(skips)
    with torch.no_grad():
        result = net(features).numpy()
    assert result.shape == (2, CLASSES, *features[3 - skips].shape[2:])
    np.testing.assert_allclose(result, plain(net, features, skips), rtol=0, atol=1e-12)


@pytest.mark.parametrize('size', [(3, 4), (1, 1), (2, 7)], ids=str)
def test_upsampling_starts_as_bilinear_interpolation(size):
    upsample = DoublingUpsample(CLASSES).double()
    x = torch.randn(2, CLASSES, *size, dtype=torch.float64)
    height, width = (2 * side for side in size)
    expected = F.interpolate(x, scale_factor=2, mode='bilinear')
    torch.testing.assert_close(upsample(x, (height, width)), expected, rtol=0, atol=1e-14)
    odd = upsample(x, (height - 1, width - 1))
    torch.testing.assert_close(odd, expected[..., :-1, :-1], rtol=0, atol=1e-14)


def test_a_new_skip_starts_with_the_predictions_of_the_net_without_it():
    features = maps(64, 96)
    fcn32 = FCNSkipHead(WIDTHS, num_classes=CLASSES, skips=0).double().eval()
    fcn16 = FCNSkipHead(WIDTHS, num_classes=CLASSES, skips=1).double().eval()
    missing, unexpected = fcn16.load_state_dict(fcn32.state_dict(), strict=False)
    assert not unexpected
    assert {name.split('.')[0] for name in missing} == {'upsamplers', 'scorers'}
    coarse = F.interpolate(fcn32(features), scale_factor=2, mode='bilinear')
    torch.testing.assert_close(fcn16(features), coarse, rtol=0, atol=1e-14)


def test_a_skip_keeps_its_names_in_the_next_net():
    shapes = [
        {name: value.shape for name, value in head(skips).state_dict().items()} for skips in (0, 1, 2, 3)
    ]
    for smaller, larger in zip(shapes, shapes[1:], strict=False):
        assert smaller.items() < larger.items()


# ---- gradients, and what is built -------------------------------------------------------------------------


@pytest.mark.parametrize('skips', [0, 1, 2, 3])
def test_everything_built_learns(skips):
    net = FCNSkipHead(WIDTHS, num_classes=CLASSES, skips=skips).double()
    features = [feature.requires_grad_() for feature in maps(33, 65)]
    net(features).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())
    read = [feature.grad is not None for feature in features]
    assert read == [False] * (3 - skips) + [True] * (skips + 1)
    widths = [layer.in_channels for layer in net.scorers]
    assert widths == list(WIDTHS[::-1][1 : 1 + skips])


def test_gradients_are_those_of_the_sum():
    net = head(1)
    (*_, fine, coarse) = maps(16, 33, batch=1)
    inputs = [None, None, fine.requires_grad_(), coarse.requires_grad_()]
    assert torch.autograd.gradcheck(lambda a, b: net([None, None, a, b]), inputs[2:])


def test_maps_by_index():
    features = maps(64, 64)
    net = head(1)
    picked = FCNSkipHead(WIDTHS[2:], num_classes=CLASSES, skips=1, in_index=(2, 3)).double().eval()
    picked.load_state_dict(net.state_dict())
    assert torch.equal(picked(features), net(features))


def test_dropout_is_of_the_coarsest_map():
    net = head(1, dropout_ratio=0.999).train()
    features = maps(64, 64)
    kept = net.scorers[0](features[2])
    torch.testing.assert_close(net(features) - kept, net.upsamplers[0](dropped(net), kept.shape[2:]))


def dropped(net):
    """The scores of a map of which nothing is left."""
    return net.conv_seg.bias[None, :, None, None].expand(2, -1, 2, 2)


# ---- bad arguments ----------------------------------------------------------------------------------------

REFUSED = {
    'too many skips': (dict(skips=4), r'skips must be from 0 to 3.*got 4'),
    'negative skips': (dict(skips=-1), r'skips must be from 0 to 3.*got -1'),
    'a part of a skip': (dict(skips=1.5), r'skips must be from 0 to 3.*got 1.5'),
    'corners': (dict(align_corners=True), 'align_corners=False, got align_corners=True'),
    'channels': (dict(channels=512), 'takes no channels: it has no layer before the scores'),
    'norm_cfg': (dict(norm_cfg=dict(type='BN')), 'takes no norm_cfg: it has no layer before the scores'),
    'input_transform': (dict(input_transform='resize_concat'), 'input_transform: skips says which maps'),
    'in_channels of one map': (dict(in_channels=2048), r'in_channels lists the channels.*got 2048'),
    'in_channels of none': (dict(in_channels=()), r'in_channels lists the channels.*got \(\)'),
    'in_index': (dict(in_index=(0, 1)), r'in_index names one map for each of in_channels=.*got \(0, 1\)'),
    'in_index of one map': (dict(in_index=3), r'in_index names one map for each of in_channels=.*got 3'),
}


@pytest.mark.parametrize(('options', 'message'), REFUSED.values(), ids=REFUSED)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(
            {**dict(type='inimg_mm.FCNSkipHead', in_channels=WIDTHS, num_classes=CLASSES), **options}
        )


def test_maps_of_a_dilated_backbone_are_refused():
    features = maps(64, 64)
    features[3] = torch.randn(2, WIDTHS[3], *features[2].shape[2:], dtype=torch.float64)
    with pytest.raises(ValueError, match=r'\(4, 4\) cannot be added to one of \(4, 4\).*without dilation'):
        head(1)(features)


# ---- in a host's model, and without the host --------------------------------------------------------------


def segmentor(skips):
    return MODELS.build(
        Config(
            dict(
                type='EncoderDecoder',
                data_preprocessor=dict(type='SegDataPreProcessor', size_divisor=1),
                backbone=dict(type='inimg_mm.ResNet', depth=18, base_channels=8),
                decode_head=dict(
                    type='inimg_mm.FCNSkipHead', in_channels=[8, 16, 32, 64], num_classes=5, skips=skips
                ),
                train_cfg=dict(),
                test_cfg=dict(mode='whole'),
            )
        )
    )


@pytest.mark.parametrize('skips', [0, 1, 2])
def test_in_a_model_of_mmseg(skips):
    init_default_scope('mmseg')
    model = segmentor(skips)
    model.init_weights()
    head = model.decode_head
    assert isinstance(head, FCNSkipHead)
    assert f'skips={skips}' in repr(head)
    assert 0 < head.conv_seg.weight.std() < 0.02  # the host's initialisation
    assert not any(scorer.weight.any() or scorer.bias.any() for scorer in head.scorers)
    images = torch.randn(2, 3, 65, 97)
    samples = []
    for _ in images:
        metainfo = dict(img_shape=(65, 97), ori_shape=(65, 97), pad_shape=(65, 97))
        truth = PixelData(data=torch.randint(0, 5, (1, 65, 97)))
        samples.append(SegDataSample(metainfo=metainfo, gt_sem_seg=truth))
    losses = model.train()(images, samples, mode='loss')
    losses['decode.loss_ce'].backward()
    assert torch.isfinite(losses['decode.loss_ce'])
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    predicted = model.eval()(images, samples, mode='predict')
    assert predicted[0].pred_sem_seg.data.shape == (1, 65, 97)


def run(code):
    command = [sys.executable, '-W', 'ignore', '-c', code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout


@pytest.mark.slow
def test_mmseg_is_imported_when_a_head_is_built():
    code = (
        'import sys, inimg_mm.models; from inimg_mm.registry import MODELS; '
        'print("mmseg" in sys.modules); '
        'MODELS.build(dict(type="FCNSkipHead", in_channels=(4, 8), num_classes=3, skips=1)); '
        'print("mmseg" in sys.modules)'
    )
    assert run(code).split() == ['False', 'True']


@pytest.mark.slow
def test_without_mmseg_the_extra_is_named():
    code = (
        'import sys; sys.modules["mmseg"] = None\n'
        'from inimg_mm.registry import MODELS\n'
        'try:\n'
        '    MODELS.build(dict(type="FCNSkipHead", in_channels=(4, 8), num_classes=3))\n'
        'except ImportError as error:\n'
        '    print(error)'
    )
    assert "a head of mmseg (pip install 'inimg-mm[seg]')" in run(code)
