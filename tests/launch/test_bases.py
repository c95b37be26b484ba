"""``_base_ = 'inimg_mm::…'``: the configs of this package, wherever a config stands."""

import pytest
from mmengine.config import Config

from helpers.tooling import CONFIGS, QUICKEST
from inimg_mm.errors import UsageError
from inimg_mm.launch.bases import base
from inimg_mm.launch.configs import load_config


@pytest.mark.parametrize('suffix', ['', '.py'])
def test_a_base_by_scope_is_the_base_by_path(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    change = 'model = dict(head=dict(num_classes=3))\n'
    (tmp_path / 'scope.py').write_text(f"_base_ = 'inimg_mm::demo/{QUICKEST}{suffix}'\n{change}")
    (tmp_path / 'path.py').write_text(f"_base_ = '{CONFIGS[QUICKEST]}'\n{change}")
    by_scope, by_path = (load_config(f'{name}.py', work_dir='w') for name in ('scope', 'path'))
    assert by_scope.model.head.num_classes == 3
    assert by_scope.to_dict() == by_path.to_dict()


def test_several_bases_and_those_of_hosts(tmp_path):
    (tmp_path / 'mine.py').write_text(
        f"_base_ = ['inimg_mm::demo/{QUICKEST}', 'inimg_mm::_base_/strategies/fsdp']\n"
    )
    cfg = load_config(tmp_path / 'mine.py')
    assert cfg.strategy.type == 'inimg_mm.FSDPStrategy'
    assert cfg.model.backbone.type == 'inimg_mm.SEResNet'


def test_own_data_over_a_base_by_scope(tmp_path):
    for split in ('train', 'val'):
        for name in ('cat', 'dog'):
            (tmp_path / 'data' / split / name).mkdir(parents=True)
            (tmp_path / 'data' / split / name / 'x.png').touch()
    (tmp_path / 'mine.py').write_text(
        f"_base_ = 'inimg_mm::demo/{QUICKEST}'\nfrom inimg_mm.datasets import own_data\n\n"
        f"own_data(_base_, '{tmp_path}/data')\n"
    )
    assert load_config(tmp_path / 'mine.py').model.head.num_classes == 2


def test_what_is_not_there(tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'inimg_mm::demo/se-r18_digit'\n")
    near = r'no base inimg_mm::demo/se-r18_digit; near it: inimg_mm::demo/se-r18_digits'
    with pytest.raises(UsageError, match=near):
        load_config(tmp_path / 'mine.py')
    with pytest.raises(UsageError, match='python -m inimg_mm configs'):
        base('inimg_mm::x')


def test_mmengine_is_as_it_was(tmp_path):
    before = Config._get_cfg_path
    load_config(CONFIGS[QUICKEST])
    assert Config._get_cfg_path is before
    (tmp_path / 'mine.py').write_text(f"_base_ = 'inimg_mm::demo/{QUICKEST}'\n")
    with pytest.raises(AssertionError, match='does not support'):
        Config.fromfile(tmp_path / 'mine.py')
