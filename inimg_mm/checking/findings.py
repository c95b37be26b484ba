"""What a check of a config finds, and how it is said."""

import traceback
from collections.abc import Sequence
from typing import NamedTuple


class Finding(NamedTuple):
    """What one check found.

    Attributes:
        check: Its name.
        fault: Whether a training would fail, or learn less than the config says.
        text: What is so.
        remedy: For a fault, what to change.
    """

    check: str
    fault: bool
    text: str
    remedy: str = ''


class Stop(Exception):
    """The model cannot be checked any further; says why, and what to change."""

    def __init__(self, text: str, remedy: str = '') -> None:
        super().__init__(text)
        self.remedy = remedy


def failure(error: Exception) -> str:
    """An error of the model's own code in one line, with its place."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    message = ' '.join(str(error).split())
    return f'{type(error).__name__}: {message} ({place.filename}, line {place.lineno})'


def print_findings(findings: Sequence[Finding]) -> None:
    """Print them as a table, and what to change below."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table('check', '', 'what was found')
    for finding in findings:
        table.add_row(finding.check, 'FAULT' if finding.fault else 'ok', Text(finding.text))
    console = Console()
    console.width = max(console.width, 140)
    console.print(table)
    for finding in findings:
        if finding.remedy:
            print(f'{finding.check}: write {finding.remedy}')
