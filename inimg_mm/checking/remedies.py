"""Remedies are tried before they are printed."""

import ast
import copy
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmengine.config import Config

from inimg_mm.checkpoints.own_config import UNKNOWN, plain_value

from .findings import Finding

CHAIN = 6
"""A remedy may need so many lines: a stage less, and what read it; each head of other channels."""
Check = Callable[[Config], Iterator[Finding]]


def options_of(remedy: str) -> dict[str, Any] | None:
    """The settings that a remedy writes, by dotted path; None if it is a sentence, which cannot be tried."""
    starts = [match.start() for match in re.finditer(r'(?:^|(?<= ))[A-Za-z_]\w*(?:\.\w+)*=', remedy)]
    if not starts or starts[0] != 0:
        return None
    options = {}
    for start, end in zip(starts, [*starts[1:], len(remedy)], strict=True):
        path, _, text = remedy[start:end].strip().partition('=')
        try:
            value = plain_value(ast.parse(text, mode='eval').body)
        except SyntaxError:
            return None
        if value is UNKNOWN:
            return None
        options[path] = value
    return options


def with_tried_remedies(cfg: Config, findings: Sequence[Finding], check: Check) -> list[Finding]:
    """Keep of each fault's remedies the first that makes it go and brings no other in its place.

    Args:
        cfg: The config that was checked; not changed.
        findings: What was found.
        check: Checks a config as that one was.
    """
    known = {finding.text for finding in findings if finding.fault}
    return [
        finding._replace(remedies=tuple(_working(cfg, finding, index, known, check))[:1])
        if finding.fault
        else finding
        for index, finding in enumerate(findings)
    ]


def _working(cfg: Config, fault: Finding, place: int, known: set[str], check: Check) -> Iterator[str]:
    for remedy in fault.remedies:
        if options_of(remedy) is None:
            yield remedy
        elif further := _further(cfg, remedy, fault, place, known, check):
            yield ' '.join(further)


def _further(
    cfg: Config, remedy: str, fault: Finding, place: int, known: set[str], check: Check
) -> list[str]:
    """A remedy with what has to follow it; nothing if that does not end well."""
    lines = [remedy]
    for _ in range(CHAIN):
        found = _first_new(cfg, ' '.join(lines), fault, place, known, check)
        if found is None:
            return lines
        if found.text == fault.text or options_of(found.remedy) is None:
            return []
        lines.append(found.remedy)
    return []


def _first_new(
    cfg: Config, remedy: str, fault: Finding, place: int, known: set[str], check: Check
) -> Finding | None:
    """The fault that a changed config has still, or another up to its place; None if all is well there.

    Behind that place count those of the same check that the fault had hidden, and that a line mends.
    """
    changed = copy.deepcopy(cfg)
    try:
        for path, value in (options_of(remedy) or {}).items():
            _write(changed, path, value)
        for number, finding in enumerate(check(changed)):
            if number > place and finding.check != fault.check:
                return None
            if not finding.fault or (finding.text in known and finding.text != fault.text):
                continue
            if number <= place or finding.text == fault.text or options_of(finding.remedy):
                return finding
    except Exception:  # of a config that this breaks in a way of its own
        return fault
    return None


def _write(cfg: Any, path: str, value: Any) -> None:
    """Set what stands at a dotted path."""
    *steps, last = [int(step) if step.isdigit() else step for step in path.split('.')]
    for step in steps:
        cfg = cfg[step]
    cfg[last] = value
