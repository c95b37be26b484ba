"""Multi-crop and ensemble evaluation, against loops written out."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain', reason='classifiers are of mmpretrain (extra mm)')

from mmengine.registry import DATASETS, DefaultScope
from PIL import Image
from torch.nn import functional as F

from helpers.checkpoint_tools import tool
from helpers.small_training import QUICK
from helpers.tooling import CONFIGS, QUICKEST, assert_refused, call_tool
from inimg_mm import launch
from inimg_mm.errors import UsageError
from inimg_mm.inference import ensemble, multi_crop
from inimg_mm.inference.exclusion import Remaining, exclude_images, read_numbers
from inimg_mm.registry import build_model

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
PHOTOS = {'cat/1.png': (90, 120), 'cat/2.png': (150, 96), 'dog/3.png': (64, 64)}
"""Height and width of images as they are cut."""


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(3)
    for name, size in PHOTOS.items():
        path = tmp_path / 'photos' / 'val' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(path)
    return tmp_path / 'photos'


@pytest.fixture
def model(photos, tmp_path):
    """A config with its random checkpoint; each call another one, on inputs of the size asked for."""

    def make(seed=0, size=28, **options):
        cfg = launch.load_config(
            CONFIGS[QUICKEST],
            {
                **QUICK,
                'model.head.num_classes': 2,
                'model.head.topk': (1,),
                'data_preprocessor.num_classes': 2,
                'test_dataloader.dataset.data_root': str(photos),
                'test_dataloader.dataset.data_prefix': 'val',
                'test_dataloader.dataset.pipeline': [
                    dict(type='LoadImageFromFile'),
                    dict(type='ResizeEdge', scale=size, edge='short', backend='pillow'),
                    dict(type='CenterCrop', crop_size=size),
                    dict(type='PackInputs'),
                ],
                'test_dataloader.batch_size': 8,
                **options,
            },
            tmp_path / 'work',
        )
        torch.manual_seed(seed)
        net = build_model(cfg).eval()
        torch.nn.init.normal_(net.head.fc.weight)  # far from even odds
        path = tmp_path / f'model-{seed}.pth'
        torch.save({'state_dict': net.state_dict()}, path)
        return cfg, str(path), net

    return make


def probabilities(net, crops):
    """Softmax of RGB crops (H, W, 3), normalised as the config says, one by one."""
    with torch.no_grad():
        x = [torch.tensor((crop - MEAN) / STD).permute(2, 0, 1)[None].float() for crop in crops]
        return torch.cat([F.softmax(net(image, mode='tensor'), dim=1) for image in x])


def written_out(path, size, crops):
    """The protocols, with Pillow and loops of their own."""
    picture = Image.open(path)
    sides = [size * side / 224 for side in (256, 288, 320, 352)]
    cut = []
    for side in map(round, sides if crops == 144 else sides[:1]):
        scale = side / min(picture.size)
        large = picture.resize((int(picture.width * scale + 1e-9), int(picture.height * scale + 1e-9)), 2)
        for third in (0, 1, 2) if crops == 144 else (1,):
            left, top = ((length - side) * third // 2 for length in large.size)
            square = large.crop((left, top, left + side, top + side))
            spots = [(0, 0), (side - size, 0), (0, side - size), (side - size, side - size)]
            spots.append(((side - size) // 2, (side - size) // 2))
            views = [square.crop((x, y, x + size, y + size)) for x, y in spots]
            if crops != 10:
                views.append(square.resize((size, size), 2))
            cut += [np.asarray(view) for view in views]
    return cut + [view[:, ::-1] for view in cut]


def test_the_shorter_sides_follow_the_nets_input():
    assert multi_crop.shorter_sides(224) == [256, 288, 320, 352]
    assert multi_crop.shorter_sides(299) == [342, 384, 427, 470]


@pytest.mark.parametrize('crops', [10, 12, 144])
def test_probabilities_are_averaged_over_the_crops(model, photos, crops):
    cfg, _, net = model()
    multi_crop.use_crops(cfg, f'{crops}crop')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    for index, name in enumerate(PHOTOS):
        views = dataset[index]['inputs']
        expected = written_out(photos / 'val' / name, 28, crops)
        assert views.shape == (len(expected), 3, 28, 28) == (crops, 3, 28, 28)
        rgb = views.flip(1).permute(0, 2, 3, 1).numpy()
        assert sorted(map(bytes, rgb)) == sorted(np.ascontiguousarray(view).tobytes() for view in expected)
        mean = multi_crop.mean_scores(net.test_step, views[None], chunk=7)
        torch.testing.assert_close(mean[0], probabilities(net, expected).mean(0), rtol=1e-5, atol=1e-6)


def test_chunks_bound_what_goes_through_the_model_and_change_nothing(model):
    cfg, _, net = model()
    sizes = []

    def test_step(data):
        sizes.append(len(data['inputs']))
        return net.test_step(data)

    views = torch.randint(0, 256, (2, 5, 3, 28, 28), dtype=torch.uint8)
    means = [multi_crop.mean_scores(test_step, views, chunk) for chunk in (3, 100)]
    assert sizes == [3, 3, 3, 1, 10]
    torch.testing.assert_close(*means)
    multi_crop.use_crops(cfg, '144crop')
    assert (cfg.test_dataloader.batch_size, cfg.test_cfg.chunk) == (1, 8)


def labels_of(photos):
    return [sorted({n.split('/')[0] for n in PHOTOS}).index(name.split('/')[0]) for name in PHOTOS]


@pytest.mark.usefixtures('on_cpu')
def test_the_tool_tests_on_crops(model, photos, tmp_path, monkeypatch):
    cfg, checkpoint, net = model(seed=2)
    cfg.dump(tmp_path / 'config.py')
    means = [
        probabilities(net, written_out(photos / 'val' / name, 28, 12)).mean(0).argmax() for name in PHOTOS
    ]
    right = np.array([int(mean) for mean in means]) == labels_of(photos)
    (tmp_path / 'leave.txt').write_text('2\n\n')
    out, predictions = tmp_path / 'metrics.json', tmp_path / 'predictions.json'
    arguments = ['--tta', '12crop', '--exclude-list', tmp_path / 'leave.txt', '--predictions', predictions]
    call_tool(monkeypatch, 'test.py', tmp_path / 'config.py', checkpoint, '--out', out, *arguments)
    metrics = json.loads(out.read_text())
    assert metrics['accuracy/top1'] == pytest.approx(100 * right.mean())
    assert metrics['accuracy_remaining/top1'] == pytest.approx(100 * right[[0, 2]].mean())
    for entry, name in zip(json.loads(predictions.read_text())['images'], PHOTOS, strict=True):
        expected = probabilities(net, written_out(photos / 'val' / name, 28, 12)).mean(0)
        assert entry['scores'] == pytest.approx(expected.tolist(), abs=2e-6)


@pytest.mark.usefixtures('on_cpu')
@pytest.mark.parametrize('crops', [None, '10crop'])
def test_an_ensemble_averages_its_members(model, photos, crops, monkeypatch):
    members, mean = [], 0
    for seed, size in ((1, 28), (2, 32)):
        cfg, checkpoint, net = model(seed, size)
        members.append((cfg, checkpoint))
        paths = [photos / 'val' / name for name in PHOTOS]
        if crops:
            seen = [probabilities(net, written_out(path, size, 10)).mean(0) for path in paths]
        else:
            with DefaultScope.overwrite_default_scope('mmpretrain'):
                dataset = DATASETS.build(cfg.test_dataloader.dataset)
            images = [dataset[index]['inputs'].flip(0).permute(1, 2, 0).numpy() for index in range(3)]
            seen = list(probabilities(net, images))
        mean = mean + torch.stack(seen) / 2
    given = []
    evaluate = ensemble._evaluate
    monkeypatch.setattr(
        ensemble,
        '_evaluate',
        lambda tests, samples, scores: given.append(scores) or evaluate(tests, samples, scores),
    )
    found = ensemble.evaluate_ensemble(members, crops)
    torch.testing.assert_close(given[-1], mean, rtol=1e-5, atol=1e-6)
    right = mean.argmax(1) == torch.tensor(labels_of(photos))
    assert found.together == {'accuracy/top1': pytest.approx(100 * right.float().mean().item())}
    assert len(found.members) == 2


@pytest.mark.usefixtures('on_cpu')
def test_the_ensembles_tool(model, tmp_path):
    words = []
    for seed in (1, 2):
        cfg, checkpoint, _ = model(seed)
        cfg.dump(tmp_path / f'{seed}.py')
        words += [tmp_path / f'{seed}.py', checkpoint]
    status, out, error = tool('test_ensemble', *words, '--out', tmp_path / 'found.json')
    assert status == 0, error
    found = json.loads((tmp_path / 'found.json').read_text())
    assert f'2 models together  accuracy/top1: {found["together"]["accuracy/top1"]:.4f}' in out
    status, _, error = tool('test_ensemble', *words[:3])
    assert (status, error.count('\n')) == (2, 1)
    assert 'stands alone' in error


def test_members_that_do_not_belong_together(model, photos):
    one, other = model(1), model(2)
    other[0].test_dataloader.dataset.indices = [0, 1]
    with pytest.raises(UsageError, match='tested on other images'):
        ensemble.evaluate_ensemble([one[:2], other[:2]])
    three = model(3, **{'model.head.num_classes': 3, 'data_preprocessor.num_classes': 3})
    with pytest.raises(UsageError, match='3 classes, and the models before it 2'):
        ensemble.evaluate_ensemble([model(1)[:2], three[:2]])
    with pytest.raises(UsageError, match='is not of the model in this config'):
        ensemble.evaluate_ensemble([(model(1)[0], three[1])])


def test_imagenets_images_are_known_by_their_names(tmp_path):
    (tmp_path / 'list.txt').write_text('7\n00000003\n')
    metric = Remaining(dict(type='mmpretrain.Accuracy', topk=(1,)), str(tmp_path / 'list.txt'))
    for place, (name, label) in enumerate(
        [('00000007', 1), ('00000001', 0), ('00000003', 1), ('00000004', 1)]
    ):
        sample = dict(
            img_path=f'val/n0/ILSVRC2012_val_{name}.JPEG',
            sample_idx=place,
            gt_label=torch.tensor([label]),
            pred_score=torch.tensor([0.9, 0.1]),
        )
        metric.process(None, [sample])
    assert metric.evaluate(4) == {'accuracy_remaining/top1': 50.0}


@pytest.mark.parametrize('text', ['0\n', '-1\n', '1.5\n', '3 4\n', 'a.jpg\n', '\n'])
def test_a_list_that_is_none(tmp_path, text):
    path = tmp_path / 'list.txt'
    path.write_text(text)
    with pytest.raises(UsageError, match='number of an image'):
        read_numbers(path)


def test_what_cannot_be_done_is_said(model, tmp_path, monkeypatch, capsys):
    cfg, checkpoint, _ = model()
    cfg.dump(tmp_path / 'config.py')
    arguments = [tmp_path / 'config.py', checkpoint, '--exclude-list', tmp_path / 'none.txt']
    assert_refused(monkeypatch, capsys, 'test.py', *arguments, message='cannot read the list')
    cfg.test_dataloader.dataset.pipeline[1:3] = [dict(type='Resize', scale=(28, 30))]
    with pytest.raises(UsageError, match='crops are squares'):
        multi_crop.use_crops(cfg, '10crop')
    cfg.test_dataloader.dataset.pipeline[1:2] = []
    with pytest.raises(UsageError, match='no transform of the test pipeline says how large'):
        multi_crop.use_crops(cfg, '10crop')
    cfg.default_scope = 'mmdet'
    for refused in (lambda: multi_crop.use_crops(cfg, '10crop'), lambda: exclude_images(cfg, 'list.txt')):
        with pytest.raises(UsageError, match='not of mmdet'):
            refused()
