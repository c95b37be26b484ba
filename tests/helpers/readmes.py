"""READMEs as the tests read them."""

import argparse
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

    script = next(index for index, word in enumerate(words) if word.endswith('.py'))
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        patch.setattr(sys, 'argv', words[script:])
        with pytest.raises(Parsed) as parsed:
            runpy.run_path(str(ROOT / words[script]), run_name='__main__')
    return parsed.value.args[0]
