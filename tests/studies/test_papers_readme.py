"""What tools/README.md says of experiments and benchmarks: commands are read, its grid can be trained."""

import re
import shlex

import pytest

pytest.importorskip('mmpretrain', reason='the README trains classifiers of mmpretrain (extra mm)')
pytest.importorskip('matplotlib', reason='plots need matplotlib (extra demo)')

from helpers.readmes import parse
from helpers.tooling import ROOT, TOOLS
from inimg_mm.studies.ablation_grid import read_grid

README = (TOOLS / 'README.md').read_text().partition("## The papers' experiments")[2]
COMMANDS = [
    line for block in re.findall(r'```bash\n(.*?)```', README, re.DOTALL) for line in block.splitlines()
]


def test_every_tool_is_there():
    tools = {'test', 'test_ensemble', 'ablate', 'compare_runs', 'plot_gates', 'plot_activations'}
    tools |= {'benchmark', 'benchmark_launches'}
    assert {shlex.split(line)[1] for line in COMMANDS} == {f'tools/{name}.py' for name in tools}


@pytest.mark.parametrize('line', COMMANDS)
def test_commands_are_read(monkeypatch, line):
    assert parse(monkeypatch, shlex.split(line))


def test_the_grid_can_be_trained(folder, tmp_path, monkeypatch):
    (text,) = re.findall(r'```yaml\n(.*?)```', README, re.DOTALL)
    (tmp_path / 'grid.yml').write_text(text.replace('configs/', f'{ROOT}/configs/'))
    monkeypatch.chdir(folder)
    grid = read_grid(tmp_path / 'grid.yml')
    assert [cell.name for cell in grid.cells[:2]] == ['none, depth=18', 'none, depth=34']
    assert len({cell.params for cell in grid.cells}) == 6
