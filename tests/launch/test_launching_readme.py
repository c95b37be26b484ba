"""What tools/README.md says: commands are run up to the training, configs are built."""

import copy
import os
import re
import shlex
import subprocess
import sys

import pytest

pytest.importorskip('mmdet', reason='the README trains the hosts (extra mm)')
pytest.importorskip('mmpretrain', reason='the README trains the hosts (extra mm)')

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, STRATEGIES

from helpers.tooling import ROOT, TOOLS, call_tool
from inimg_mm import launch
from inimg_mm.launch import distributed, preflight
from inimg_mm.registry import build_model

README = (TOOLS / 'README.md').read_text().partition("## The papers' experiments")[0]
COMMANDS = [
    line
    for block in re.findall(r'```bash\n(.*?)```', README, re.DOTALL)
    for line in block.splitlines()
    if line
]
CONFIGS = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
MIM = [line for line in COMMANDS if line.startswith('mim ')]


@pytest.fixture
def called(monkeypatch):
    """Record what the tools would train or test, instead of doing it."""
    calls = []
    for name in ('train', 'evaluate'):
        monkeypatch.setattr(launch, name, lambda cfg, *_, **__: calls.append(cfg) or {})
    return calls


def command_of_a_process(line, programs, monkeypatch):
    """The tool and its arguments that a launch script starts in each process."""
    programs('srun')
    python = programs('python')
    monkeypatch.setenv('PYTHON', str(python))
    done = subprocess.run(['bash', '-c', line], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    tools = (f'{TOOLS}/train.py', f'{TOOLS}/test.py')
    start = next(index for index, word in enumerate(words) if word in tools)
    return words[start:]


def test_there_is_something_to_test():
    assert len(COMMANDS) > 15
    assert len(CONFIGS) == 4
    assert len(MIM) == 3


@pytest.mark.parametrize('line', [line for line in COMMANDS if line not in MIM])
def test_commands(called, programs, monkeypatch, tmp_path, line):
    monkeypatch.chdir(ROOT)
    if line.startswith('python '):
        _, tool, *arguments = shlex.split(line)
    else:
        tool, *arguments = command_of_a_process(line, programs, monkeypatch)
    tool = tool.rpartition('/')[2]
    if tool == 'check_config.py':
        with pytest.raises(SystemExit) as stop:
            call_tool(monkeypatch, tool, *arguments)
        assert not stop.value.code
        return
    assert tool in ('train.py', 'test.py')
    arguments = [str(tmp_path / word) if word.endswith('.json') else word for word in arguments]
    call_tool(monkeypatch, tool, *arguments)
    (cfg,) = called
    assert (ROOT / cfg.filename).is_file()
    preflight.check_strategy(cfg)


@pytest.mark.parametrize('line', MIM)
def test_mims_configs_are_there(line):
    _, command, package, config, *_ = shlex.split(line)
    assert command == 'train'
    assert launch.load_config(ROOT / config).default_scope in (package, package.replace('ection', ''))


@pytest.mark.slow
@pytest.mark.parametrize('line', MIM[:2])
def test_mim_trains(folder, tmp_path, line):
    pytest.importorskip('mim', reason='onedl-mim is not installed (pip install onedl-mim)')
    words = shlex.split(line)
    words[3] = str(ROOT / words[3])
    words[words.index('--work-dir') + 1] = str(tmp_path)
    options = ['train_cfg.max_epochs=1', 'train_dataloader.batch_size=8', 'default_hooks.logger.interval=1']
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', *words, '--cfg-options', *options],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / 'epoch_1.pth').is_file()


@pytest.mark.parametrize('text', CONFIGS, ids=['timeout', 'ema', 'layer decay', 'fsdp'])
def test_configs(monkeypatch, text):
    text = text.replace("'configs/", f"'{ROOT}/configs/")
    cfg = Config.fromstring(text, '.py')
    if cfg.default_scope == 'mmdet':
        cfg.model.backbone.init_cfg = None
    preflight.check_strategy(cfg)
    wrapper = build_optim_wrapper(build_model(cfg), copy.deepcopy(cfg.optim_wrapper))
    for hook in cfg.get('custom_hooks', []):
        HOOKS.build(dict(hook))
    settings = dict(cfg.env_cfg.dist_cfg)
    assert settings.pop('backend') == 'nccl'
    if 'timeout' in text:
        assert settings == dict(timeout=120)
    if 'accumulative_counts' in text:
        assert wrapper._accumulative_counts == 4
    if 'decay_rate' in text:
        rates = {group['lr'] for group in wrapper.optimizer.param_groups}
        full = cfg.optim_wrapper.optimizer.lr
        assert full in rates  # heads
        assert max(rates) == pytest.approx(full * 10 * 0.9)  # the last block's gate
        assert len(rates) > 14
    if 'fsdp' in text:
        assert distributed.is_sharded(cfg)
        assert STRATEGIES.get(cfg.strategy.type).__name__ == 'ShardedStrategy'
