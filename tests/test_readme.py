"""The README is true: its tables are computed, its snippets run, its files exist."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from inimg_mm import zoo
from inimg_mm.tables import GATES, fill

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / 'README.md').read_text()
SNIPPETS = re.findall(r'```python\n(.*?)```', README, re.DOTALL)


def test_tables_are_up_to_date():
    assert fill(README) == README, 'run: python tools/zoo_table.py --write README.md'
    for name in [*zoo.MODELS, *GATES]:
        assert f'\n| {name} |' in README


def test_fill_needs_a_place():
    with pytest.raises(ValueError, match='zoo.*gates'):
        fill('no table here')


def test_linked_and_named_files_exist():
    links = re.findall(r'\]\((?!http)([^)#]+)\)', README)
    named = re.findall(r'\b((?:tools|configs)/[\w./-]+\.(?:py|sh|md))', README)
    assert links
    assert named
    for path in links + named:
        assert (ROOT / path).is_file(), path


def test_config_snippet_builds_a_detector():
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS

    cfg = Config.fromstring(SNIPPETS[0], '.py')
    detector = MODELS.build(cfg.model)
    assert detector.backbone.out_channels == tuple(cfg.model.neck.in_channels)


@pytest.mark.slow
def test_warm_start_snippet_carries_a_whole_detector(tmp_path):
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS

    plain = Config.fromstring(SNIPPETS[1].split('\n')[0], '.py').model
    plain.backbone.init_cfg = None
    plain = MODELS.build(plain)
    torch.save({'state_dict': plain.state_dict()}, tmp_path / 'plain.pth')
    cfg = Config.fromstring(
        SNIPPETS[1].replace('path/to/a/trained/faster-rcnn_r50.pth', str(tmp_path / 'plain.pth')), '.py'
    )
    gated = MODELS.build(cfg.model)
    gated.init_weights()
    image, pooled = torch.randn(1, 3, 64, 64), torch.randn(2, 256, 7, 7)
    expected, found = (answers(net.eval(), image, pooled) for net in (plain, gated))
    for a, b in zip(flat(expected), flat(found), strict=True):
        assert torch.equal(a, b)
    parameters = build_optim_wrapper(gated, cfg.optim_wrapper).param_groups
    assert {group['lr'] for group in parameters} == {0.02, 0.2}


def answers(detector, image, pooled):
    maps = detector.extract_feat(image)
    return maps, detector.rpn_head(maps), detector.roi_head.bbox_head(pooled)


def flat(tensors):
    return [tensors] if torch.is_tensor(tensors) else [leaf for part in tensors for leaf in flat(part)]


def test_own_data_snippet(tmp_path):
    (tmp_path / 'data' / 'images').mkdir(parents=True)
    for name in ('train.json', 'val.json'):
        (tmp_path / 'data' / name).write_text(
            '{"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}'
        )
    snippet = SNIPPETS[2].replace('path/to/data', str(tmp_path / 'data'))
    (tmp_path / 'delta.py').write_text(snippet.replace("'configs/", f"'{ROOT}/configs/"))
    cfg = Config.fromfile(tmp_path / 'delta.py')
    assert cfg.model.roi_head.bbox_head.num_classes == 2
    assert cfg.train_dataloader.dataset.data_root == str(tmp_path / 'data')
    assert cfg.val_evaluator.ann_file == str(tmp_path / 'data' / 'val.json')
