"""Checkpoint files of all kinds, hostile ones too."""

import os

import torch

PAGE = b'<!DOCTYPE html>\n<html><head><title>404</title></head></html>'


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


WEIGHTS = {'conv1.weight': torch.arange(6.0).reshape(2, 3), 'bn1.bias': torch.ones(2)}


def assert_weights(state, expected=WEIGHTS):
    assert set(state) == set(expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path
