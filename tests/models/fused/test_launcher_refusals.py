"""Where the short way to launch a kernel is not taken, and who is told."""

import logging
from types import SimpleNamespace

import pytest
import torch

from helpers.launches import is_short, moments, needs_a_tested_version, pretend, start
from inimg_mm.models.fused import launcher, switch

triton = pytest.importorskip('triton')


@needs_a_tested_version
def test_what_watches_launches_is_not_passed_by(card, monkeypatch):
    def short():
        start(moments())
        return is_short(card.received[-1])

    settings, kernel = triton.knobs.runtime, moments()[0]
    watching = [(settings, name, print) for name in ('launch_enter_hook', 'launch_exit_hook')]
    watching += [(getattr(settings, name), 'calls', [print]) for _, name, _ in watching]
    watching += [(settings, 'debug', True), (kernel, 'pre_run_hooks', [lambda *args, **options: None])]
    assert [short(), short()] == [False, True]
    for place in watching:
        with monkeypatch.context() as patch:
            patch.setattr(*place)
            assert not short()
        assert short()


@needs_a_tested_version
def test_kernels_that_need_memory_of_their_own_are_triton_s(card, monkeypatch):
    def with_memory(*args, **options):
        made = pretend(*args, **options)
        made.metadata.global_scratch_size = 128
        return made

    monkeypatch.setattr(triton.compiler, 'compile', with_memory)
    own = SimpleNamespace(get=lambda: lambda size, alignment, stream: size)
    monkeypatch.setattr(triton.runtime._allocation, '_allocator', own)
    for _ in range(3):
        start(moments())
    assert [is_short(args) for args in card.received] == [False] * 3
    assert card.received[0][7] == 128 * 6


@needs_a_tested_version
@pytest.mark.parametrize('mistake', ['inside', 'a grid of two', 'a constant among the arguments'])
def test_a_mistake_before_a_launch_is_told_once_and_triton_launches(card, said, monkeypatch, mistake):
    kernel, grid, args, constants = moments()
    if mistake == 'inside':
        start(moments())
        monkeypatch.setattr(launcher.ShortWay, 'find', lambda *_: 1 / 0)
    elif mistake == 'a grid of two':
        start(moments())
        grid = grid[:2]
    else:
        args = *args, constants.pop('BP')
    del card.received[:]
    for _ in range(2):
        launcher.launch(kernel, grid, *args, **constants)
    assert [is_short(args) for args in card.received] == [False] * 2
    ((text, level),) = said
    assert '(INIMG_MM_FAST_LAUNCH): off, ' in text
    assert level == logging.WARNING
    assert not launcher.is_short()


@needs_a_tested_version
def test_a_triton_that_returns_something_else_is_told_once(card, said, monkeypatch):
    monkeypatch.setattr(launcher.Compiled, 'of', lambda *_: 1 / 0)
    for _ in range(2):
        start(moments())
    assert len(card.received) == 2
    assert [text.partition('off, ')[2] for text, _ in said] == ['ZeroDivisionError: division by zero']


@needs_a_tested_version
def test_an_error_of_a_launch_is_the_caller_s(card, said):
    """The kernel may have written, so it is not launched again."""
    kernel, grid, args, constants = moments()
    way = launcher.choose(None)
    launcher.choose(way)
    launcher.launch(kernel, grid, *args, **constants)
    (known,) = [compiled for _, compiled in way.kernels.values()]
    (key,) = known
    known[key] = known[key]._replace(start=lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        launcher.launch(kernel, grid, *args, **constants)
    assert len(card.received) == 1
    assert said == []
    assert launcher.is_short()


@pytest.mark.parametrize(
    ('environment', 'version', 'reason'),
    [
        (dict(INIMG_MM_FAST_LAUNCH='1'), launcher.TESTED[0], None),
        (dict(INIMG_MM_FAST_LAUNCH='1'), '3.4.0', 'Triton 3.4.0 is not one of those tested (3.5.1, 3.6.0)'),
        (dict(INIMG_MM_FAST_LAUNCH='yes'), launcher.TESTED[0], "'yes' is neither 0 nor 1"),
        (
            dict(INIMG_MM_FAST_LAUNCH='1', TRITON_INTERPRET='1'),
            launcher.TESTED[0],
            "Triton's interpreter has no launcher",
        ),
    ],
)
def test_who_asks_for_it_is_told(said, monkeypatch, environment, version, reason):
    if reason is None and triton.__version__ != version:
        pytest.skip('the short way is not for it')
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(triton, '__version__', version)
    assert (launcher.asked_for() is None) == (reason is not None)
    ((text, level),) = said
    assert text.endswith('(INIMG_MM_FAST_LAUNCH): ' + ('on' if reason is None else f'off, {reason}'))
    assert level == (logging.INFO if reason is None else logging.WARNING)


def test_off_by_default(said, monkeypatch):
    for value in (None, '0'):
        monkeypatch.setenv('INIMG_MM_FAST_LAUNCH', value) if value else None
        assert launcher.asked_for() is None
    assert said == []
    assert not launcher.is_short()


@pytest.mark.parametrize(
    ('fails', 'stays'), [(lambda short: short, True), (lambda short: True, False)], ids=['it', 'all']
)
def test_the_first_use_takes_the_short_way_too(said, monkeypatch, fails, stays):
    seen = []

    def difference(*_):
        seen.append(launcher.is_short())
        return 1.0 if len(seen) > 1 and fails(seen[-1]) else 0.0

    monkeypatch.setattr('inimg_mm.models.fused.trial.difference', difference)
    before = launcher.choose(object())
    reason = switch._trial(torch.device('cpu'), torch.float32, False)
    assert not launcher.is_short()
    launcher.choose(before)
    assert seen == [True, True, False]
    assert (reason is None) == stays
    ((text, _),) = said
    assert text.endswith('off, the first use was 1e+00 from the plain formula')
