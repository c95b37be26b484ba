"""No config escapes: every file under configs/ is read, dumped, described, built, and trained for a step."""

import re
import sys
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config

from helpers.nets import count_parameters
from inimg_mm import catalogue
from inimg_mm.catalogue.metafiles import describe
from inimg_mm.checking.config import check_config
from inimg_mm.config_tree import type_name
from inimg_mm.errors import UsageError
from inimg_mm.host_facts import HOSTS
from inimg_mm.launch import load_config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
PATHS = catalogue.config_files(CONFIGS)
NAMES = {path: f'{path.parent.name}/{path.stem}' for path in PATHS}
UPDATE = 'run: python tools/update_catalogue.py'
SIZES = {'mmpose': (64, 96), 'cifar': (32, 32), 'svhn': (32, 32)}
"""Width and height of the images of a step; 64 x 64 where neither host nor task has its own."""
AUXILIARY = dict(InceptionHead=(299, 299))
"""The same for heads that read no smaller maps."""


@cache
def entry_of(path):
    """What the metafile says of a config; nothing of one that it does not list."""
    models = catalogue.read_metafile(path.parent / catalogue.METAFILE)['Models']
    return next((model for model in models if model['Name'] == path.stem), {})


def host_of(path):
    assert entry_of(path), f'no metafile lists {NAMES[path]}; {UPDATE}'
    return entry_of(path)['Metadata']['Host']


def family_of(path):
    """What is built around the backbone, and whether the config is text or Python."""
    model = entry_of(path)['Metadata']['Architecture'][0] if entry_of(path) else None
    return path.parent.name, model, path.stem.endswith('_python')


def every_config():
    """Every config; but for the first of each task and family they are of the slow tier."""
    seen = set()
    for path in PATHS:
        family = family_of(path)
        yield pytest.param(path, id=NAMES[path], marks=pytest.mark.slow if family in seen else ())
        seen.add(family)


def load(path):
    pytest.importorskip(host_of(path))
    return load_config(path)


def test_metafiles_list_every_config_once():
    listed = [
        model['Config']
        for metafile in CONFIGS.glob(f'*/{catalogue.METAFILE}')
        for model in catalogue.read_metafile(metafile)['Models']
    ]
    assert sorted(listed) == [f'configs/{name}.py' for name in sorted(NAMES.values())], UPDATE


def test_no_base_is_left_over():
    texts = {path: path.read_text() for path in CONFIGS.rglob('*.py')}
    for base in (CONFIGS / '_base_').rglob('*.py'):
        users = [
            path for path, text in texts.items() if path != base and re.search(rf'\b{base.stem}\b', text)
        ]
        assert users, f'no config uses {base.relative_to(CONFIGS)}'


@pytest.mark.parametrize('path', PATHS, ids=NAMES.get)
def test_config(path):
    """It is short, is read, is the same after a dump, and has the parameters that the metafile says."""
    assert len(path.read_text().splitlines()) <= 40
    cfg = load(path)
    settings = Config(cfg.to_dict(), format_python_code=False)  # which takes longer than all the rest
    dumped = Config.fromstring(settings.pretty_text, '.py')
    assert dumped.to_dict() == cfg.to_dict()
    assert count_parameters(cfg) == entry_of(path)['Metadata']['Parameters'], UPDATE


@pytest.mark.parametrize('path', every_config())
def test_description(path):
    """The metafile says of it what can be counted and looked up."""
    pytest.importorskip(host_of(path))
    assert describe(path) == entry_of(path), UPDATE


@pytest.mark.parametrize('path', every_config())
def test_step(path):
    """It is built by its host, its parts fit together, and it takes a step with a finite loss."""
    cfg = load(path)
    usual = SIZES.get(path.parent.name, SIZES.get(cfg.default_scope, (64, 64)))
    size = AUXILIARY.get(type_name(cfg.model.get('head') or {}), usual)
    findings = check_config(cfg, init=False, size=size)
    assert [finding for finding in findings if finding.fault] == []
    found = {finding.check for finding in findings}
    assert found - {'classes', 'joints'} == {'model', 'channels', 'weights', 'frozen', 'gradients', 'step'}


@pytest.mark.parametrize('host', HOSTS)
def test_missing_host(host, monkeypatch):
    """It says which extra installs its host, in text and in Python."""
    paths = [path for path in PATHS if host_of(path) == host]
    monkeypatch.setitem(sys.modules, host, None)
    for path in (paths[0], next(path for path in paths if path.stem.endswith('_python'))):
        with pytest.raises(UsageError, match=rf"{path.name} needs {host}.*'inimg-mm\[{HOSTS[host].extra}\]'"):
            load_config(path)
