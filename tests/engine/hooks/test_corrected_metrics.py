"""Under any launcher what a metric of COCO's kind has read is corrected, where one reading is right."""

import json
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from helpers.own_data import build, write_coco
from helpers.tooling import CONFIGS, DETECTOR
from inimg_mm.datasets import own_data
from inimg_mm.engine.hooks.corrupt_data.corrupt_data import _check_annotations, _correct_metrics
from inimg_mm.errors import AnnotationError

POSES = 'td-hm_se-r18_digits-96x96'


@pytest.fixture(params=[DETECTOR, POSES])
def cfg(request, tmp_path):
    points = dict(keypoints=['a', 'b', 'c']) if request.param == POSES else {}
    root = write_coco(
        tmp_path, [dict(id=1, name='cat', **points)], dict(train=[(40, 30)], val=[(40, 30)] * 2)
    )
    content = json.loads((root / 'val.json').read_text())
    for place, annotation in enumerate(content['annotations']):
        annotation['id'] = place
        del annotation['iscrowd']
    (root / 'val.json').write_text(json.dumps(content))
    cfg = Config.fromfile(CONFIGS[request.param])
    own_data(cfg, str(root))
    return cfg


def test_what_the_metric_has_read(cfg):
    from importlib import import_module

    pytest.importorskip(cfg.default_scope)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        metric = import_module(f'{cfg.default_scope}.registry').METRICS.build(cfg.val_evaluator)
    loop = SimpleNamespace(evaluator=SimpleNamespace(metrics=[metric, SimpleNamespace()]))
    api = getattr(metric, '_coco_api', None) or metric.coco
    assert sorted(api.anns) == [0, 1]
    _correct_metrics(loop)
    assert sorted(api.anns) == [1, 2]
    assert {annotation['iscrowd'] for annotation in api.anns.values()} == {0}
    assert [annotation['id'] for annotation in api.imgToAnns[2]] == [2]
    _correct_metrics(SimpleNamespace())


def test_what_the_data_set_has_read(cfg, tmp_path):
    dataset = build(cfg, 'train_dataloader')
    _check_annotations(dataset)
    content = json.loads((tmp_path / 'train.json').read_text())
    content['annotations'][0]['bbox'] = [0.1, 0.1, 0.5, 0.5]
    (tmp_path / 'train.json').write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match='no box of 1 is as large as a pixel'):
        _check_annotations(dataset)
