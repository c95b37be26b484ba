"""The classifiers of Inception-v3: parity with torchvision's, losses and inference in mmpretrain's model."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn
from torch.nn import functional as F

from helpers.nets import image, randomise

pytest.importorskip('mmpretrain', reason='the head is of mmpretrain (extra mm)')

from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from inimg_mm.models.heads.inception import AuxiliaryClassifier, InceptionHead

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 5


@pytest.fixture(scope='module')
def peer():
    """torchvision's net without dropout, with random weights and statistics, in float64 and train mode."""
    models = pytest.importorskip('torchvision').models
    net = models.inception_v3(num_classes=CLASSES, dropout=0, init_weights=False)
    return randomise(net).double().train()


@pytest.fixture(scope='module')
def classifier():
    """mmpretrain's model with backbone and head of ours; to be left as it is."""
    return build()


def build(**head):
    settings = dict(type='inimg_mm.InceptionHead', num_classes=CLASSES, dropout=0.0, **head)
    backbone = dict(type='inimg_mm.InceptionV3', out_indices=(2, 3))
    return MODELS.build(dict(type='ImageClassifier', backbone=backbone, head=settings))


def samples(count=2):
    return [DataSample().set_gt_label(label) for label in range(1, count + 1)]


def maps(side=17, batch=2):
    """What the backbone gives of an image of 299 pixels."""
    generator = torch.Generator().manual_seed(3)
    sizes = ((768, side, side), (2048, 8, 8))
    return tuple(torch.rand(batch, *size, generator=generator, dtype=torch.float64) for size in sizes)


def head(**options):
    """A head in float64 with random weights, without dropout, in train mode."""
    net = InceptionHead(**{'num_classes': CLASSES, 'dropout': 0.0, **options})
    return randomise(net).double().train()


def test_both_scores_and_losses_are_torchvisions(peer):
    model = build().double().train()
    names = ('fc.', 'AuxLogits.')
    state = {
        f'{"head" if name.startswith(names) else "backbone"}.{name}': value
        for name, value in peer.state_dict().items()
    }
    model.load_state_dict(state, strict=True)
    x, scores = image(299, 299, dtype=torch.float64), []
    model.head.fc.register_forward_hook(lambda module, args, out: scores.append(out))
    model.head.AuxLogits.register_forward_hook(lambda module, args, out: scores.append(out))
    with torch.no_grad():
        losses = model(x, samples(), mode='loss')
        expected = peer(x)
    assert all(score.std() > 0.01 for score in expected)
    difference = max((a - b).abs().max().item() for a, b in zip(scores, expected, strict=True))
    print(f'torchvision inception_v3, both logits in train mode: max difference {difference:.1e}')
    assert difference < 1e-9
    labels = torch.tensor([1, 2])
    assert set(losses) == {'loss_main', 'loss_aux'}
    assert losses['loss_main'].item() == pytest.approx(F.cross_entropy(expected[0], labels).item(), abs=1e-9)
    auxiliary = F.cross_entropy(expected[1], labels).item()
    assert losses['loss_aux'].item() == pytest.approx(0.4 * auxiliary, abs=1e-9)


def test_counts():
    with torch.device('meta'):
        model = MODELS.build(
            dict(
                type='ImageClassifier',
                backbone=dict(type='inimg_mm.InceptionV3', out_indices=(2, 3)),
                head=dict(type='inimg_mm.InceptionHead', num_classes=1000),
            )
        )
    assert sum(p.numel() for p in model.parameters()) == 27_161_264
    auxiliary = sum(p.numel() for p in model.head.AuxLogits.parameters())
    assert sum(p.numel() for p in model.parameters()) - auxiliary == 23_834_568


def test_a_training_step_teaches_both_and_inference_runs_the_main_one_alone(classifier):
    classifier.init_weights()
    optimizer = build_optim_wrapper(classifier, dict(optimizer=dict(type='SGD', lr=0.01)))
    before = {name: p.detach().clone() for name, p in classifier.named_parameters()}
    classifier.train()
    data = dict(inputs=image(299, 299), data_samples=samples())
    log = classifier.train_step(data, optimizer)
    assert log['loss'].item() == pytest.approx(log['loss_main'].item() + log['loss_aux'].item())
    unchanged = [name for name, p in classifier.named_parameters() if torch.equal(p, before[name])]
    assert not unchanged

    calls = []
    classifier.head.AuxLogits.register_forward_hook(lambda *args: calls.append(1))
    classifier.eval()
    with torch.no_grad():
        x = image(107, 107)  # too small for the auxiliary classifier
        predictions = classifier(x, mode='predict')
        scores = classifier.head.fc(classifier.backbone(x)[-1].mean((2, 3)))
    assert not calls
    for sample, score in zip(predictions, scores, strict=True):
        torch.testing.assert_close(sample.pred_score, score.softmax(0))


@pytest.mark.parametrize('fc_norm', [True, False])
def test_the_auxiliary_scores_from_their_formula(fc_norm):
    net, (x, _) = head(fc_norm=fc_norm).AuxLogits.eval(), maps(20)
    state = net.state_dict()
    assert ('conv1.conv.bias' in state, 'conv1.bn.weight' in state) == (not fc_norm, fc_norm)

    def norm(y, name):
        mean, var, weight, bias = (
            state[f'{name}.bn.{key}'][:, None, None]
            for key in ('running_mean', 'running_var', 'weight', 'bias')
        )
        return (y - mean) / (var + 1e-3).sqrt() * weight + bias

    # windows of 5x5 at steps of 3, then a sum over 5x5 windows of their means
    pooled = x.unfold(2, 5, 3).unfold(3, 5, 3).mean((-1, -2))
    y = torch.einsum('nchw,kc->nkhw', pooled, state['conv0.conv.weight'][..., 0, 0])
    y = norm(y, 'conv0').relu()
    windows = y.unfold(2, 5, 1).unfold(3, 5, 1)
    y = torch.einsum('nchwij,kcij->nkhw', windows, state['conv1.conv.weight'])
    y = (norm(y, 'conv1') if fc_norm else y + state['conv1.conv.bias'][:, None, None]).relu()
    expected = y.mean((2, 3)) @ state['fc.weight'].T + state['fc.bias']
    with torch.no_grad():
        torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-10)


def test_one_smoothed_loss_serves_both():
    loss = dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')
    net, features = head(loss=MODELS.build(loss), aux_weight=0.25), maps()
    losses = net.loss(features, samples())
    labels = torch.tensor([1, 2])
    with torch.no_grad():
        for key, weight, scores in (
            ('loss_main', 1, net(features)),
            ('loss_aux', 0.25, net.AuxLogits(features[0])),
        ):
            smoothed = F.cross_entropy(scores, labels, label_smoothing=0.1)
            assert losses[key].item() == pytest.approx(weight * smoothed.item(), rel=1e-6)


def test_accuracy_is_of_the_main_classifier():
    net, features = head(cal_acc=True, topk=(1,)), maps()
    losses = net.loss(features, samples())
    hits = net(features).argmax(1) == torch.tensor([1, 2])
    assert set(losses) == {'loss_main', 'loss_aux', 'accuracy_top-1'}
    assert losses['accuracy_top-1'][0].item() == pytest.approx(100 * hits.double().mean().item())


def test_dropout_is_of_the_pooled_features():
    net, features = head(dropout=0.75), maps()
    assert torch.equal(net.eval()(features), net.fc(features[1].mean((2, 3))))
    seen = []
    net.fc.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    net.train()(features)
    pooled = features[1].mean((2, 3))
    kept = seen[0] != 0
    assert kept.double().mean().item() == pytest.approx(0.25, abs=0.05)
    torch.testing.assert_close(seen[0][kept], 4 * pooled[kept])


def test_initial_weights_are_torchvisions():
    net = InceptionHead(num_classes=200)
    net.init_weights()
    for layer, deviation in (
        (net.fc, 0.1),
        (net.AuxLogits.conv0.conv, 0.1),
        (net.AuxLogits.conv1.conv, 0.01),
        (net.AuxLogits.fc, 0.001),
    ):
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.05)
    assert all(torch.all(m.weight == 1) for m in net.modules() if isinstance(m, nn.BatchNorm2d))


# ---- bad input --------------------------------------------------------------------------------------------

REFUSED = {
    'num_classes': (dict(num_classes=0), 'num_classes must be an integer of at least 1, got 0'),
    'in_channels': (dict(in_channels=2048), r'in_channels holds the channels of two maps.*got 2048'),
    'one map': (dict(in_channels=(2048,)), r'in_channels holds the channels of two maps.*got \(2048,\)'),
    'dropout': (dict(dropout=1), 'dropout must be at least 0 and below 1, got 1'),
    'aux_weight': (dict(aux_weight=0), "aux_weight must be above 0, got 0; without .*'GlobalAveragePooling'"),
    'norm_cfg': (dict(norm_cfg='BN'), 'norm_cfg must be a config'),
}


@pytest.mark.parametrize(('options', 'message'), REFUSED.values(), ids=REFUSED)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build({'type': 'inimg_mm.InceptionHead', 'num_classes': CLASSES, **options})


@pytest.mark.parametrize(
    'features', [maps()[1:], tuple(m.mean((2, 3)) for m in maps())], ids=['one', 'pooled']
)
def test_other_features_are_refused(features):
    with pytest.raises(ValueError, match=r'reads two maps.*out_indices=\(2, 3\) and neck=None; got .*2048'):
        head()(features)


def test_a_map_too_small_for_the_auxiliary_classifier():
    net = AuxiliaryClassifier(CLASSES).double().eval()
    assert net(maps(17)[0]).shape == (2, CLASSES)
    with pytest.raises(ValueError, match=r'a map of 17x17 and got 16x16: .*299x299.*257x257.*LinearClsHead'):
        net(maps(16)[0])


# ---- without the host -------------------------------------------------------------------------------------


def run(code):
    command = [sys.executable, '-W', 'ignore', '-c', code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout


@pytest.mark.slow
def test_mmpretrain_is_imported_when_a_head_is_built():
    code = (
        'import sys, inimg_mm.models; from inimg_mm.registry import MODELS; '
        'print("mmpretrain" in sys.modules); '
        'MODELS.build(dict(type="InceptionHead", num_classes=3)); '
        'print("mmpretrain" in sys.modules)'
    )
    assert run(code).split() == ['False', 'True']


@pytest.mark.slow
def test_without_mmpretrain_the_extra_is_named():
    code = (
        'import sys; sys.modules["mmpretrain"] = None\n'
        'from inimg_mm.registry import MODELS\n'
        'try:\n'
        '    MODELS.build(dict(type="InceptionHead", num_classes=3))\n'
        'except ImportError as error:\n'
        '    print(error)'
    )
    assert "a head of mmpretrain (pip install 'inimg-mm[mm]')" in run(code)
