"""The numbers of the fused operations on a CPU. Triton's interpreter is chosen before Triton is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[3] / 'tests'


@pytest.mark.slow
def test_under_triton_s_interpreter():
    folder = Path(__file__).parent / 'interpreted'
    environment = {**os.environ, 'TRITON_INTERPRET': '1', 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-m', 'pytest', '-q', '-x', '-p', 'no:cacheprovider', str(folder)]
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
