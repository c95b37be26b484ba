"""A config that cannot be read, or that options do not fit, is one clear line and no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from inimg_mm.errors import UsageError
from inimg_mm.launch import load_config

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
LAZY = 'from mmengine.config import read_base\n\nwith read_base():\n    from .base import *\n'
USABLE = "default_scope = 'mmengine'\nmodel = dict(type='x', stages=[1, 2])\n"

TEXTS = {
    'an error of Python': ('\nx = 1 / 0\n', r'ZeroDivisionError: division by zero \(line 2 of .*mine\.py\)'),
    'an error of Python in a base': (
        "_base_ = 'base.py'",
        r'NameError: .*nowhere.* \(line 3 of .*base\.py\)',
    ),
    'an error of Python in a base of a pure Python config': (LAZY, r'NameError: .* \(line 3 of .*base\.py\)'),
    'an error of syntax': ('x = (\n', r"SyntaxError: '\(' was never closed"),
    'a base that is not there': ("_base_ = 'no.py'", r'FileNotFoundError: .*no\.py'),
    'a base of no known package': ("_base_ = 'mmnone::a/b.py'", 'does not support to load mmnone config'),
    'bytes': ('\0', 'cannot be read: [A-Z]'),
}


@pytest.mark.parametrize('case', TEXTS)
def test_a_config_that_cannot_be_read(case, tmp_path, monkeypatch):
    text, message = TEXTS[case]
    monkeypatch.chdir(tmp_path)
    Path('base.py').write_text('a = 1\n\nb = nowhere\n')
    Path('mine.py').write_text(text)
    with pytest.raises(
        UsageError, match=f'^mine.py cannot be read: .*{message}|^mine.py {message}'
    ) as caught:
        load_config('mine.py')
    assert len(str(caught.value).splitlines()) == 1


def test_own_datas_mistakes_in_a_config_keep_their_words(tmp_path):
    (tmp_path / 'base.py').write_text(USABLE)
    mine = tmp_path / 'mine.py'
    mine.write_text(
        "_base_ = 'base.py'\nfrom inimg_mm.datasets import own_data\n\nown_data(_base_, 'no/such/folder')\n"
    )
    with pytest.raises(ValueError, match=r"^data_root '?no/such/folder'? is not a folder"):
        load_config(mine)


def test_own_data_in_a_config_without_a_base(tmp_path):
    """As a copied config is: mmengine takes it for pure Python; over it, it works."""
    (tmp_path / 'copy.py').write_text("default_scope = 'mmdet'\nmodel = dict(type='RetinaNet')\n")
    line = "from inimg_mm.datasets import own_data\n\nown_data({}, 'data')\n"
    for given, why in (('globals()', 'has no _base_ is pure Python'), ('_base_', "'_base_' is not defined")):
        (tmp_path / 'mine.py').write_text((tmp_path / 'copy.py').read_text() + line.format(given))
        with pytest.raises(UsageError, match=rf"{why}.*_base_ = 'mine\.py', then own_data"):
            load_config(tmp_path / 'mine.py')
    (tmp_path / 'over.py').write_text("_base_ = 'copy.py'\n" + line.format('_base_'))
    with pytest.raises(ValueError, match="data_root 'data' is not a folder"):
        load_config(tmp_path / 'over.py')


def test_no_model(tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text("default_scope = 'mmengine'\n")
    with pytest.raises(UsageError, match=r'mine\.py has no model'):
        load_config(config)


@pytest.mark.parametrize('option', ['model.type.x', 'model.stages.5.x'])
def test_options_that_do_not_fit(option, tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(USABLE)
    with pytest.raises(UsageError, match=r'the options do not fit .*mine\.py: '):
        load_config(config, {option: 1})


@pytest.mark.parametrize('tool', ['train.py', 'check_config.py'])
def test_tools_say_it_in_one_line(tool, tmp_path):
    (tmp_path / 'mine.py').write_text('x = 1 / 0\n')
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', TOOLS / tool, 'mine.py'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stderr.startswith('error: mine.py cannot be read: ZeroDivisionError')
    assert len(run.stderr.splitlines()) == 1
