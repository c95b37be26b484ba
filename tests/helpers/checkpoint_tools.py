"""How the checkpoint tools are called."""

import io
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import torch

from helpers.tooling import ROOT
from inimg_mm import zoo


def expanded(name):
    """A state dict of full shape on almost no memory."""
    with torch.device('meta'):
        shapes = zoo.build(name).state_dict()
    return {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in shapes.items()}


def folder_of(path):
    return sorted(p.name for p in Path(path).parent.iterdir())


def tool(name, *arguments):
    """Run a tool; its exit status, output and error output."""
    status, out, error = 0, io.StringIO(), io.StringIO()
    argv = patch.object(sys, 'argv', [name, *map(str, arguments)])
    with argv, redirect_stdout(out), redirect_stderr(error):
        try:
            runpy.run_path(str(ROOT / 'tools' / f'{name}.py'), run_name='__main__')
        except SystemExit as stop:
            status = stop.code
    return status, out.getvalue(), error.getvalue()
