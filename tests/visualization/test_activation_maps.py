"""Activation maps: against formulas written out, and nets that are as they were."""

import numpy as np
import pytest
import torch

pytest.importorskip('matplotlib', reason='plots need matplotlib (extra demo)')
pytest.importorskip('mmpretrain', reason='the models are of the hosts (extra mm)')
pytest.importorskip('mmdet', reason='the models are of the hosts (extra mm)')
pytest.importorskip('pytorch_grad_cam', reason='Grad-CAM is of the package grad-cam (extra bench)')

from PIL import Image
from torch.nn import functional as F

from helpers.checkpoint_tools import tool
from helpers.nets import randomise
from helpers.tooling import CONFIGS, DETECTOR, QUICKEST, ROOT
from inimg_mm import launch
from inimg_mm.errors import UsageError
from inimg_mm.registry import build_model
from inimg_mm.visualization import activation_maps
from inimg_mm.visualization.activation_maps import Viewed, at_every_place, grad_cam
from inimg_mm.visualization.calibration import recorded_calibration

pytestmark = pytest.mark.usefixtures('on_cpu')

SCNET = {
    'model.backbone.type': 'inimg_mm.SCNet',
    'model.backbone.depth': 50,
    'model.backbone.base_channels': 16,
    'model.head.in_channels': 512,
}

RETINANET = {
    'model.backbone.base_channels': 16,
    'model.backbone.stem_channels': 16,
    'model.backbone.init_cfg': None,
    'model.neck.in_channels': [64, 128, 256, 512],
    'test_dataloader.dataset.pipeline.1.scale': (160, 100),
}


@pytest.fixture
def trained(tmp_path):
    """A demo config and a checkpoint with random weights and statistics."""

    def make(name=QUICKEST, **options):
        cfg = launch.load_config(CONFIGS[name], options)
        path, config = tmp_path / f'{name}.pth', tmp_path / f'{name}{len(options)}.py'
        cfg.dump(config)
        torch.save({'state_dict': randomise(build_model(cfg)).state_dict()}, path)
        return launch.load_config(config), str(path)

    return make


@pytest.fixture
def viewed(trained):
    return lambda *args, **options: Viewed(*trained(*args, **options), 'net')


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model(inputs, mode='tensor')


def test_grad_cam_is_the_papers_formula(viewed):
    net = viewed()
    image = torch.randn(1, 3, 64, 96)
    last = net.model.backbone(image)[-1].detach().requires_grad_(True)
    score = net.model.head(net.model.neck((last,)))[0, 3]
    (gradient,) = torch.autograd.grad(score, last)
    weights = gradient.mean((2, 3), keepdim=True)
    expected = F.relu((weights * last).sum(1, keepdim=True)).detach()
    expected = expected - expected.min()
    expected = F.interpolate(expected / expected.max(), (64, 96), mode='bilinear')[0, 0]
    found = grad_cam(Logits(net.model), net.layer, image, 3)
    assert found.shape == (64, 96)
    assert (found.min(), found.max()) == (0, pytest.approx(1, abs=1e-5))
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-4)


@pytest.mark.parametrize('size', [(64, 64), (97, 150), (33, 40)])
def test_the_head_at_every_place(viewed, size):
    model = viewed().model
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        last = model.backbone(image)[-1]
        everywhere = at_every_place(model, image)
        for row in range(last.shape[2]):
            for column in range(last.shape[3]):
                expected = model.head.fc(last[0, :, row, column])
                torch.testing.assert_close(everywhere[0, :, row, column], expected, rtol=1e-4, atol=1e-4)
        whole = model(image, mode='tensor')
    torch.testing.assert_close(everywhere.mean((2, 3)), whole, rtol=1e-4, atol=1e-4)


def test_calibration_is_the_papers_formula(viewed):
    model = viewed(**SCNET).model
    image, inside = torch.randn(1, 3, 64, 64), {}
    block = model.backbone.layer2[-1].scconv
    handle = block.register_forward_pre_hook(lambda module, args: inside.update(y=args[0].clone()))
    with torch.no_grad(), recorded_calibration(model) as found:
        model.backbone(image)
    handle.remove()
    pool, conv, norm = block.k2
    small = F.avg_pool2d(inside['y'], 4)
    small = F.batch_norm(
        F.conv2d(small, conv.weight, padding=1), norm.running_mean, norm.running_var, norm.weight, norm.bias
    )
    expected = torch.sigmoid(inside['y'] + small.repeat_interleave(4, 2).repeat_interleave(4, 3))
    assert pool.r == 4
    assert list(found) == [f'layer{stage}' for stage in range(1, 5)]
    np.testing.assert_allclose(found['layer2'], expected[0].mean(0).detach(), atol=1e-5)


@pytest.mark.parametrize(('name', 'options'), [(QUICKEST, SCNET), (DETECTOR, {})])
def test_looking_leaves_a_net_as_it_was(viewed, photo, name, options):
    net = viewed(name, **options)
    learning = [parameter.requires_grad for parameter in net.model.parameters()]
    state = {key: value.clone() for key, value in net.model.state_dict().items()}
    inside = {key: set(vars(module)) for key, module in net.model.named_modules()}
    image = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        before = net.model.backbone(image)
        maps = net.look(photo)
        after = net.model.backbone(image)
    assert all(map(torch.equal, before, after))
    for key, value in net.model.state_dict().items():
        assert torch.equal(value, state[key])
    for key, module in net.model.named_modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert set(vars(module)) == inside[key]
    assert [parameter.requires_grad for parameter in net.model.parameters()] == learning
    assert all(parameter.grad is None for parameter in net.model.parameters())
    assert maps.cam.shape == maps.picture.shape[:2]
    assert maps.cam.max() > 0


def test_recording_keeps_outputs_bit_equal(viewed):
    model = viewed(**SCNET).model
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model.backbone(image)[-1]
        with recorded_calibration(model):
            during = model.backbone(image)[-1]
    assert torch.equal(before, during)


def test_the_best_box_of_a_detector(viewed, photo):
    net = viewed(DETECTOR)
    best = net.look(photo)
    samples = net.host.predict([net.host.load(photo)])[0].pred_instances
    label, score = int(samples.labels[0]), float(samples.scores[0])
    assert best.caption == f'{net.classes[label]} {score:.2f}'
    scale = best.picture.shape[1] / 90
    assert best.box == pytest.approx((samples.bboxes[0] * scale).tolist(), abs=1.0)
    other = next(int(each) for each in samples.labels if int(each) != label)
    assert net.look(photo, net.classes[other]).caption.startswith(net.classes[other])
    missing = set(range(len(net.classes))) - set(samples.labels.tolist())
    for each in missing:
        maps = net.look(photo, net.classes[each])
        assert (maps.cam, maps.caption) == (None, f'no box of {net.classes[each]}')


def test_a_one_stage_detector_and_masks(photo, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(activation_maps, 'grad_cam', lambda *args: asked.append(args) or grad_cam(*args))
    for config, options in (
        ('coco_detection/retinanet_se-r50_fpn_1x_coco.py', RETINANET),
        ('demo/mask-rcnn_ini-r18_fpn_digits.py', {}),
    ):
        cfg = launch.load_config(ROOT / 'configs' / config, options)
        torch.save({'state_dict': randomise(build_model(cfg)).state_dict()}, tmp_path / 'weights.pth')
        maps = Viewed(cfg, str(tmp_path / 'weights.pth'), 'net').look(photo)
        assert maps.cam.shape == maps.picture.shape[:2]
        scores, _, inputs, index = asked.pop()
        inputs.requires_grad_(True)
        score = scores(inputs)[0, index]
        assert torch.autograd.grad(score, inputs)[0].abs().max() > 0  # mmdet cuts it off
        assert maps.caption.endswith(f'{score:.2f}')


def test_the_tool_draws_one_picture_an_image(trained, photo, tmp_path):
    Image.open(photo).save(photo.with_name('two.jpg'))
    photo.with_name('broken.png').write_bytes(b'\x89PNG\r\n\x1a\n and no more')
    words = []
    for name, options in ((QUICKEST, SCNET), (DETECTOR, {})):
        cfg, checkpoint = trained(name, **options)
        words += [cfg.filename, checkpoint]
    status, out, error = tool(
        'plot_activations', photo.parent, '--models', *words, '--out-dir', tmp_path / 'out'
    )
    assert status == 1, error
    assert error.endswith(f'error: cannot read {photo.with_name("broken.png")}: ' + error.rpartition(': ')[2])
    pictures = sorted((tmp_path / 'out').iterdir())
    assert [picture.name for picture in pictures] == ['one.png', 'two.jpg.png']
    assert out.split() == [str(picture) for picture in pictures]
    for picture in pictures:
        pixels = np.asarray(Image.open(picture).convert('RGBA'))
        assert pixels[..., 3].min() == 255
        assert pixels.std() > 10


def test_bad_input_is_one_sentence(trained, photo, tmp_path, segmentation):
    cfg, checkpoint = trained()
    with pytest.raises(
        UsageError, match=r"net has no layer 'backbone.layer9'; its backbone has backbone.conv1"
    ):
        Viewed(cfg, checkpoint, 'net', layer='backbone.layer9')
    with pytest.raises(UsageError, match="knows no class 'cow'; choose from"):
        Viewed(cfg, checkpoint, 'net').look(photo, 'cow')
    with pytest.raises(UsageError, match='models of mmdet, mmpretrain, and net is of mmseg'):
        Viewed(launch.load_config(segmentation), checkpoint, 'net')
    config = CONFIGS[DETECTOR]
    for words, message in (
        ([photo, '--models', config, checkpoint], 'is not of the model in this config'),
        ([tmp_path / 'none.png', '--models', cfg.filename, checkpoint], 'there is no image or folder'),
    ):
        status, _, error = tool('plot_activations', *words)
        assert (status, message in error.splitlines()[-1]) == (2, True), error
