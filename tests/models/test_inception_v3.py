"""Inception-v3: parity with torchvision's, sizes of maps, counts, and what is built."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

from helpers.nets import (
    INCEPTION_STAGES,
    assert_declared_shapes,
    features,
    image,
    loss_of,
    randomise,
    weightless,
)
from inimg_mm.models.backbones import InceptionV3
from inimg_mm.models.backbones.inception_v3 import SMALLEST_IMAGE

CHANNELS = (192, 288, 768, 2048)
light = partial(weightless, InceptionV3)


@pytest.fixture(scope='module')
def peer():
    """torchvision's net with random weights and statistics, in float64, without classifiers."""
    models = pytest.importorskip('torchvision').models
    net = randomise(models.inception_v3(init_weights=False)).double().eval()
    net.aux_logits, net.AuxLogits, net.fc = False, None, nn.Identity()
    return net


@pytest.fixture(scope='module')
def net(peer):
    """Ours with the same weights, padding as torchvision does, in eval mode; to be left so."""
    net = InceptionV3().double().eval()
    net.load_state_dict(peer.state_dict(), strict=True)
    return net


@pytest.fixture(scope='module')
def same(net):
    """The net for dense prediction, with the same weights."""
    same = InceptionV3(padding='same').double().eval()
    same.load_state_dict(net.state_dict(), strict=True)
    return same


def sides(net, height, width):
    """Channels, heights and widths of the maps of an image; nothing is computed."""
    with torch.no_grad():
        return [tuple(m.shape[1:]) for m in net.eval()(torch.empty(1, 3, height, width, device='meta'))]


def test_the_maps_are_torchvisions(peer, net):
    peer, net, differences = copy.deepcopy(peer), copy.deepcopy(net), []  # their statistics change
    x = image(107, 90, dtype=torch.float64)
    for training in (False, True):
        with torch.no_grad():
            maps = net.train(training)(x)
        expected = features(peer.train(training), x)
        assert all(0.01 < m.std() < 1e3 for m in maps)
        differences += [(m - e).abs().max().item() for m, e in zip(maps, expected, strict=True)]
    state = net.state_dict()
    for key, value in peer.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=0, atol=1e-9, msg=key)
    print(f'torchvision inception_v3: max difference {max(differences):.1e} in eval and train mode')
    assert max(differences) < 1e-9


def test_grids_of_299_pixels():
    net, grids = light(), []
    grid_ends = (
        'Conv2d_1a_3x3',
        'Conv2d_2a_3x3',
        'Conv2d_2b_3x3',
        'maxpool1',
        'Conv2d_3b_1x1',
        *INCEPTION_STAGES,
    )
    for name in grid_ends:
        net.get_submodule(name).register_forward_hook(lambda module, args, out: grids.append(out.shape[2]))
    maps = sides(net, 299, 299)
    assert grids == [149, 147, 147, 73, 73, 71, 35, 17, 8]
    assert maps == [(width, side, side) for width, side in zip(CHANNELS, (71, 35, 17, 8), strict=True)]


@pytest.mark.parametrize('size', [(64, 96), (320, 416), (299, 299), (65, 33), (1, 33), (31, 2)], ids=str)
@pytest.mark.parametrize('stem', ['3x3', '7x7'])
def test_same_padding_keeps_fractions_of_the_image(stem, size):
    net = light(padding='same', stem=stem)
    assert net.out_strides == (4, 8, 16, 32)
    assert net.out_channels == CHANNELS
    expected = [
        (channels, *(math.ceil(side / stride) for side in size))
        for channels, stride in zip(CHANNELS, net.out_strides, strict=True)
    ]
    assert sides(net, *size) == expected


def test_same_padding_computes_finite_maps_of_small_and_odd_images(same):
    with torch.no_grad():
        for size in ((1, 33), (65, 47)):
            assert_declared_shapes(same, image(*size, batch=1, dtype=torch.float64))


def test_padding_alone_is_what_differs(net, same):
    """Away from the border the maps are the same.

    'valid' begins its windows at pixels 0, 2, 4, ... and 'same' at -1, 1, 3, ...: without the first row and
    column of the image they meet. Conv2d_2a and 4a take one pixel of a border each from 'valid' alone, the
    first of them before a pool: pixel i of its map is pixel i + 2 of the other.
    """
    x = image(139, 115, batch=1, dtype=torch.float64)
    with torch.no_grad():
        valid, padded = net(x)[0], same(x[..., 1:, 1:])[0]
    height, width = valid.shape[2:]
    inner = valid[..., 3:-3, 3:-3]
    assert inner.std() > 0.01
    torch.testing.assert_close(padded[..., 5 : height - 1, 5 : width - 1], inner, rtol=0, atol=1e-12)


@pytest.mark.parametrize('stem', ['3x3', '7x7'])
@pytest.mark.parametrize(('last', 'smallest'), enumerate(SMALLEST_IMAGE))
def test_the_smallest_image_of_valid_padding(stem, last, smallest):
    net = light(stem=stem, out_indices=(last,))
    assert min(sides(net, smallest, smallest + 40)[0]) == 1
    for size in ((smallest - 1, 200), (200, smallest - 1)):
        message = rf'{size[0]}x{size[1]} are too small .*{smallest}x{smallest} and more fit'
        with pytest.raises(ValueError, match=message):
            sides(net, *size)
    net.padding = 'unchecked'
    with pytest.raises((RuntimeError, AssertionError)):
        assert min(sides(net, smallest - 1, smallest + 40)[0]) > 0


def test_counts():
    classifier = 2048 * 1000 + 1000
    assert sum(p.numel() for p in light().parameters()) + classifier == 23_834_568
    # one 7x7 convolution and its norm instead of three 3x3s and theirs
    stem = {name: sum(p.numel() for p in light(stem=name).parameters()) for name in ('3x3', '7x7')}
    three = 9 * (3 * 32 + 32 * 32 + 32 * 64) + 2 * (32 + 32 + 64)
    assert stem['3x3'] - stem['7x7'] == three - (49 * 3 * 64 + 2 * 64)


def test_the_7x7_stem_is_one_convolution():
    net = light(stem='7x7')
    assert [name for name, _ in net.named_children()][:3] == ['Conv2d_1a_7x7', 'maxpool1', 'Conv2d_3b_1x1']
    assert sides(net, 299, 299) == sides(light(), 299, 299)


@pytest.mark.parametrize('out_indices', [(0,), (1, 2), (2,), 1], ids=str)
def test_what_no_output_reads_is_not_built(out_indices):
    indices = (out_indices,) if isinstance(out_indices, int) else out_indices
    net = InceptionV3(padding='same', out_indices=out_indices)
    assert net.out_channels == tuple(CHANNELS[index] for index in indices)
    assert net.out_strides == tuple(4 * 2**index for index in indices)
    assert list(net.children())[-1] is getattr(net, INCEPTION_STAGES[indices[-1]])
    loss_of(assert_declared_shapes(net, image(40, 33))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
