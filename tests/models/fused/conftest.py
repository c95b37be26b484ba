"""A card that is not there, and what the launcher says."""

import pytest

from helpers.launches import pretend
from inimg_mm.models.fused import launcher


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(launcher, 'print_log', lambda text, logger, level: lines.append((text, level)))
    return lines


@pytest.fixture
def compiling(monkeypatch, request):
    """Triton's compiler where the test asks for it, otherwise :func:`pretend`."""
    if not getattr(request, 'param', False):
        monkeypatch.setattr('triton.compiler.compile', pretend)


@pytest.fixture
def card(compiling):
    """A card that is not there, the short way to it open; ``card.received`` is what came last."""
    from inimg_mm.studies import launches

    received = []
    with launches.stand_in(lambda *args: received.append(args)) as card:
        card.received = received
        before = launcher.choose(launcher.ShortWay())
        yield card
        launcher.choose(before)
