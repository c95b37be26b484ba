"""READMEs as the tests read them."""

import argparse
import re
import runpy
import sys

import pytest

from helpers.tooling import ROOT


class Parsed(Exception):
    """A tool has read its arguments."""


def parse(monkeypatch, words):
    """Let a tool read its arguments and no more; returns them."""
    original = argparse.ArgumentParser.parse_args

    def stop(parser, *arguments, **options):
        raise Parsed(original(parser, *arguments, **options))

    # a launcher's own script, tools/_torchrun.py, stands before the tool's
    script = next(i for i, word in enumerate(words) if re.search(r'(^|/)[a-z]\w*\.py$', word))
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        patch.setattr(sys, 'argv', words[script:])
        with pytest.raises(Parsed) as parsed:
            runpy.run_path(str(ROOT / words[script]), run_name='__main__')
    return parsed.value.args[0]
