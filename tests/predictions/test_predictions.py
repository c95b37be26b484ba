"""Predictions on a test set as files: other tools read them and find what the host's metric found."""

import errno
import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

pytest.importorskip('mmdet', reason='the tools launch the hosts (extra mm)')
pytest.importorskip('mmpretrain', reason='the tools launch the hosts (extra mm)')

from mmengine.structures import BaseDataElement, InstanceData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from helpers.tooling import CONFIGS, TOOLS, call_tool, run
from inimg_mm import launch, output_files
from inimg_mm.engine.hooks import save_predictions
from inimg_mm.errors import UsageError
from inimg_mm.predictions import FORMS, Image, Record, Scoring, Subject, boxes, form_of, image_of

CLASSIFIER = CONFIGS['se-r18_digits']
SEGMENTER = CONFIGS['mask-rcnn_ini-r18_fpn_digits']
KEYPOINTS = CONFIGS['td-hm_se-r18_digits-96x96']
IN_PROCESS = {'test_dataloader.num_workers': 0, 'test_dataloader.persistent_workers': False}


def predictions(config, checkpoint, out, options=None):
    """Test a config; returns the metrics and the content of the file of predictions."""
    cfg = launch.load_config(config, {**IN_PROCESS, **(options or {})}, work_dir=out.parent / 'work')
    metrics = launch.evaluate(cfg, str(checkpoint), predictions=out)
    return metrics, json.loads(out.read_text())


def near(found, expected):
    """Compare lists of COCO results, of which a host rounds nothing."""
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        for key, value in theirs.items():
            assert ours[key] == (pytest.approx(value, abs=1e-4) if key != 'segmentation' else value)


def average_precision(annotations, results, kind, sigmas=None):
    """AP as pycocotools finds it, reading the file itself."""
    truth = COCO(str(annotations))
    evaluation = COCOeval(truth, truth.loadRes(str(results)), kind)
    if sigmas is not None:
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[0]


@pytest.fixture
def renumbered(folder, tmp_path, monkeypatch):
    """The demo set with other category ids: in no order, with gaps."""
    monkeypatch.chdir(folder)
    content = json.loads(Path('data/demo/val.json').read_text())
    for entry, key in [(c, 'id') for c in content['categories']] + [
        (a, 'category_id') for a in content['annotations']
    ]:
        entry[key] = 100 - 7 * entry[key]
    path = tmp_path / 'renumbered.json'
    path.write_text(json.dumps(content))
    return path


def paths(annotations):
    return {'test_dataloader.dataset.ann_file': str(annotations), 'test_evaluator.ann_file': str(annotations)}


# ---- forms ----------------------------------------------------------------------------------------------


def nearly_right(self, inputs, samples, rescale=True):
    """What a fair detector would find: the annotated objects a bit off, some of another class, and more."""
    for sample in samples:
        truth = sample.gt_instances
        generator = torch.Generator().manual_seed(sample.img_id)
        count = len(truth)
        found = InstanceData()
        found.bboxes = truth.bboxes + 6 * torch.rand(count, 4, generator=generator) - 3
        found.scores = 0.2 + 0.8 * torch.rand(count, generator=generator)
        found.labels = torch.where(torch.arange(count) % 4 == 3, (truth.labels + 1) % 10, truth.labels)
        found.masks = torch.from_numpy(truth.masks.masks).bool().roll((1, 2), (1, 2))
        sample.pred_instances = found
    return samples


def test_boxes_and_masks(untrained, renumbered, tmp_path, monkeypatch):
    from mmdet.models import MaskRCNN

    monkeypatch.setattr(MaskRCNN, 'predict', nearly_right)
    out, theirs = tmp_path / 'new' / 'p.json', tmp_path / 'host'
    options = {**paths(renumbered), 'test_evaluator.outfile_prefix': str(theirs)}
    metrics, found = predictions(SEGMENTER, untrained(SEGMENTER), out, options)
    near(found, json.loads(Path(f'{theirs}.bbox.json').read_text()))
    near(found, json.loads(Path(f'{theirs}.segm.json').read_text()))
    for kind in ('bbox', 'segm'):
        precision = average_precision(renumbered, out, kind)
        assert 0.05 < precision < 0.95
        assert round(precision, 3) == metrics[f'coco/{kind}_mAP']


def test_images_of_coco_results(untrained, renumbered, tmp_path):
    options = {**paths(renumbered), 'model.test_cfg.rcnn.score_thr': 1.0}  # nothing found
    _, found = predictions(SEGMENTER, untrained(SEGMENTER), tmp_path / 'p.json', options)
    described = json.loads((tmp_path / 'p.images.json').read_text())
    annotated = json.loads(renumbered.read_text())
    assert found == []
    assert [(i['id'], i['width'], i['height']) for i in described['images']] == [
        (i['id'], i['width'], i['height']) for i in annotated['images']
    ]
    assert all(Path(image['file_name']).is_file() for image in described['images'])
    assert [(c['id'], c['name']) for c in described['categories']] == [
        (c['id'], c['name']) for c in annotated['categories']
    ]


def guessed(sample):
    """What a fair keypoint model would find: the annotated points a bit off, some of another object."""
    random = np.random.default_rng(sample.id)
    truth, found = sample.gt_instances, InstanceData()
    found.keypoints = truth.keypoints + random.normal(0, 2, truth.keypoints.shape)
    found.keypoint_scores = random.uniform(0, 1, truth.keypoints.shape[:2]).astype(np.float32)
    found.bboxes = truth.bboxes
    found.bbox_scores = random.uniform(0.5, 1, 1).astype(np.float32)
    sample.pred_instances = found
    return sample


def test_keypoints(untrained, renumbered, tmp_path, monkeypatch):
    pytest.importorskip('mmpose', reason='keypoints need mmpose (extra pose)')
    from mmpose.models import TopdownPoseEstimator

    monkeypatch.setattr(
        TopdownPoseEstimator, 'predict', lambda self, inputs, samples: list(map(guessed, samples))
    )
    out, theirs = tmp_path / 'p.json', tmp_path / 'host'
    options = {**paths(renumbered), 'test_evaluator.outfile_prefix': str(theirs)}
    options['test_evaluator.keypoint_score_thr'] = 0.7
    metrics, found = predictions(KEYPOINTS, untrained(KEYPOINTS), out, options)
    near(found, json.loads(Path(f'{theirs}.keypoints.json').read_text()))
    precision = average_precision(renumbered, out, 'keypoints', sigmas=[0.05] * 5)
    assert 0.05 < precision < 0.95
    assert precision == pytest.approx(metrics['coco/AP'], abs=1e-6)
    annotated = json.loads(renumbered.read_text())
    assert json.loads((tmp_path / 'p.images.json').read_text())['categories'] == annotated['categories']


@pytest.mark.parametrize('score_mode', ['bbox', 'keypoint', 'bbox_rle', 'bbox_keypoint'])
@pytest.mark.parametrize('nms_mode', ['oks_nms', 'soft_oks_nms', 'none'])
def test_keypoints_are_scored_as_the_host_does(folder, tmp_path, score_mode, nms_mode):
    pytest.importorskip('mmpose', reason='keypoints need mmpose (extra pose)')
    from mmpose.evaluation import CocoMetric
    from mmpose.structures import PoseDataSample

    annotated, random = folder / 'data' / 'demo' / 'val.json', np.random.default_rng(0)
    settings = dict(score_mode=score_mode, nms_mode=nms_mode, nms_thr=0.3, keypoint_score_thr=0.5)
    metric = CocoMetric(str(annotated), **settings, format_only=True, outfile_prefix=str(tmp_path / 'host'))
    metric.dataset_meta = dict(num_keypoints=5, sigmas=np.full(5, 0.05))
    subject = Subject(scoring=Scoring(**settings, sigmas=np.full(5, 0.05)))
    records = []
    for index in range(8):  # in no order, and the second half a bit beside the first
        truth = InstanceData(
            keypoints=np.random.default_rng(index % 4).uniform(0, 90, (1, 5, 2)) + index // 4,
            bboxes=random.uniform(0, 90, (1, 4)),
            bbox_scales=np.array([[80.0, 60]]),
        )
        meta = dict(
            id=7 - index, img_id=1 + index % 2, img_path=f'{index % 2}.jpg', ori_shape=(90, 90), category_id=3
        )
        sample = guessed(PoseDataSample(metainfo=meta, gt_instances=truth))
        metric.process(None, [sample.to_dict()])
        records.append(FORMS['keypoints'].record(sample, image_of(sample), subject, tmp_path / 'p.json'))
    metric.evaluate(len(records))
    FORMS['keypoints'].write(records, subject, tmp_path / 'p.json')
    found = json.loads((tmp_path / 'p.json').read_text())
    near(found, json.loads((tmp_path / 'host.keypoints.json').read_text()))
    assert (len(found) < 8) == (nms_mode == 'oks_nms')


def test_classes(untrained, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    metrics, found = predictions(CLASSIFIER, untrained(CLASSIFIER), tmp_path / 'p.json')
    assert len(found['classes']) == len(found['images']) == 10
    right = 0
    for image in found['images']:
        assert Picture.open(image['path']).size == (image['width'], image['height'])
        assert image['label'] == int(np.argmax(image['scores']))
        assert image['class'] == found['classes'][image['label']]
        assert sum(image['scores']) == pytest.approx(1, abs=1e-4)
        right += image['class'] == Path(image['path']).parent.name
    assert metrics['accuracy/top1'] == pytest.approx(10 * right)


def test_several_classes_of_an_image():
    pytest.importorskip('mmpretrain')
    from mmpretrain.structures import DataSample

    scores = torch.tensor([0.9, 0.2, 0.8])
    subject, image = Subject(classes=('a', 'b')), Image(1, 'x.jpg', 4, 3)
    form = FORMS['classes']
    for labels, expected in (([0, 2], [0, 2]), ([], []), ([2], 2)):
        sample = DataSample().set_pred_score(scores).set_pred_label(torch.tensor(labels, dtype=torch.long))
        entry = json.loads(form.keep(sample, image, subject, Path('p.json')))
        assert entry['label'] == expected
    assert entry['class'] == 'class 2'  # two names for three classes


def test_class_maps(untrained, folder, tmp_path, segmentation):
    metrics, found = predictions(segmentation, untrained(segmentation), tmp_path / 'p.json')
    assert found['classes'] == ['sky', 'cat', 'dog']
    right = total = 0
    for image in found['images']:
        labels = np.asarray(Picture.open(tmp_path / image['map']))
        assert labels.shape == (image['height'], image['width'])
        counts = {name: int((labels == label).sum()) for label, name in enumerate(found['classes'])}
        assert image['pixels'] == {name: count for name, count in counts.items() if count}
        truth = np.asarray(Picture.open(image['path'].replace('images', 'maps').replace('.jpg', '.png')))
        right, total = right + (labels == truth).sum(), total + truth.size
    assert metrics['aAcc'] == pytest.approx(100 * right / total, abs=0.01)
    assert {image['map'] for image in found['images']} == {'p_maps/a/1.png', 'p_maps/b/1.png'}


def test_a_model_that_predicts_something_else():
    with pytest.raises(UsageError, match=r'keypoints, boxes.*BaseDataElement with \[.pred_depth.\]'):
        form_of(BaseDataElement(pred_depth=torch.zeros(1)))


def test_masks_that_are_encoded_already():
    found = InstanceData(
        bboxes=torch.tensor([[1.0, 2, 3, 5]]), scores=torch.tensor([0.1]), labels=torch.tensor([3])
    )
    found.masks = [dict(size=[4, 4], counts=b'04')]
    found.mask_scores = torch.tensor([0.25])
    sample = BaseDataElement(pred_instances=found)
    line = json.loads(boxes.keep(sample, Image('x', 'x.jpg', 4, 4), Subject(), Path('p.json')))
    assert line == dict(
        image_id='x',
        category_id=3,
        bbox=[1, 2, 2, 3],
        score=0.1,
        segmentation=dict(size=[4, 4], counts='04'),
        mask_score=0.25,
    )


# ---- several ranks --------------------------------------------------------------------------------------


def test_shares_join_in_the_order_of_the_data_set():
    records = [Record(Image(index, f'{index}.jpg', 1, 1), None, str(index)) for index in range(5)]
    shares = [records[0::2], [*records[1::2], records[0]]]  # the last fills up the batch
    assert list(save_predictions._joined(shares)) == records
    objects = [Record(Image(1, 'a.jpg', 1, 1), part, str(part)) for part in range(3)]
    assert list(save_predictions._joined([objects, []])) == objects


@pytest.mark.slow
@pytest.mark.usefixtures('on_cpu')
@pytest.mark.parametrize(('config', 'samples'), [(CLASSIFIER, 9), (SEGMENTER, 3)])
def test_two_ranks_write_what_one_writes(untrained, folder, tmp_path, config, samples, monkeypatch):
    words = [config, untrained(config), '--work-dir', tmp_path / 'w']
    options = ['--cfg-options', *(f'{key}={value}' for key, value in IN_PROCESS.items())]
    options += ['test_dataloader.batch_size=1', f'test_dataloader.dataset.indices={samples}']
    one, two = tmp_path / 'one.json', tmp_path / 'two.json'
    monkeypatch.chdir(folder)
    call_tool(monkeypatch, 'test.py', *words, '--predictions', one, *options)
    ranks = [
        sys.executable,
        '-W',
        'ignore',
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc-per-node=2',
    ]
    words += ['--launcher', 'pytorch', '--predictions', two]
    run(*ranks, '--nproc-per-node=2', TOOLS / 'test.py', *words, *options, cwd=folder)
    texts = [path.read_text() for path in (one, two)]
    assert texts[0] == texts[1]
    found = json.loads(texts[0])
    assert len(found['images'] if 'images' in found else {line['image_id'] for line in found}) == samples


@pytest.mark.slow
def test_hosts_own_test_script(untrained, folder, tmp_path):
    config = tmp_path / 'delta.py'
    hook = dict(type='inimg_mm.SavePredictionsHook', out=str(tmp_path / 'p.json'))
    config.write_text(f'_base_ = {str(CLASSIFIER)!r}\ncustom_hooks = [{hook!r}]\n')
    script = Path(importlib.util.find_spec('mmpretrain').origin).parent / '.mim' / 'tools' / 'test.py'
    words = [sys.executable, '-W', 'ignore', script, config, untrained(config)]
    run(*words, '--work-dir', tmp_path / 'w', cwd=folder)
    assert len(json.loads((tmp_path / 'p.json').read_text())['images']) == 10


# ---- the command ----------------------------------------------------------------------------------------


def test_command(untrained, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    words = [CLASSIFIER, untrained(CLASSIFIER), '--work-dir', tmp_path / 'w']
    words += ['--out', tmp_path / 'a' / 'metrics.json', '--predictions', tmp_path / 'b' / 'p.json']
    call_tool(
        monkeypatch,
        'test.py',
        *words,
        '--cfg-options',
        *(f'{key}={value}' for key, value in IN_PROCESS.items()),
    )
    assert json.loads((tmp_path / 'a' / 'metrics.json').read_text()).keys() == {'accuracy/top1'}
    assert len(json.loads((tmp_path / 'b' / 'p.json').read_text())['images']) == 10
    assert {path.name for path in tmp_path.glob('[ab]/*')} == {'metrics.json', 'p.json'}  # nothing half-made


def test_where_nothing_can_be_written(untrained, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (tmp_path / 'file').touch()
    checkpoint = untrained(CLASSIFIER)
    for words, message in (
        (['--predictions', tmp_path / 'file' / 'p.json'], f'cannot make the folder {tmp_path / "file"}'),
        (['--out', tmp_path / 'file' / 'p.json'], f'cannot make the folder {tmp_path / "file"}'),
        (['--predictions', tmp_path], f'{tmp_path} is a folder'),
        (['--out', '/dev/null'], '/dev/null is a device'),
        (['--show-dir', tmp_path / 'file' / 'x'], f'cannot make the folder {tmp_path / "file"}'),
        (['--work-dir', tmp_path / 'file' / 'x'], f'cannot make the folder {tmp_path / "file"}'),
        (['--predictions', tmp_path / 'x', '--out', tmp_path / 'x'], 'the same file'),
    ):
        with pytest.raises(SystemExit) as stop:
            call_tool(monkeypatch, 'test.py', CLASSIFIER, checkpoint, *words)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


def test_a_full_disk(tmp_path, monkeypatch):
    def full(dir):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(output_files.tempfile, 'TemporaryFile', full)
    with pytest.raises(UsageError, match=f'cannot write into the folder {tmp_path}: No space left'):
        output_files.check_folder(tmp_path)


def test_numbers_that_are_not_finite():
    value = dict(a=[1.5, np.float32('nan'), float('inf')], b=np.float32(2))
    assert json.loads(output_files.json_text(value)) == dict(a=[1.5, None, None], b=2)


def test_a_file_is_whole_or_as_it_was(tmp_path):
    def parts():
        yield 'new'
        raise KeyError('on the way')

    path = tmp_path / 'x.json'
    path.write_text('old')
    with pytest.raises(KeyError):
        output_files.write_text(path, parts())
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError, match='cannot write'):
        output_files.write_text(tmp_path / 'missing' / 'x.json', ['new'])
