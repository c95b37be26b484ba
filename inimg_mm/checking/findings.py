"""What a check of a config finds, and how it is said."""

import traceback
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple


class State(Enum):
    """What a finding means for a training; the value is how the table says it."""

    OK = 'ok'
    NOTE = 'note'
    """It trains, and in another way than a reader of the config may think."""
    UNCHECKED = 'not checked'
    FAULT = 'FAULT'
    """It would fail, or learn less than the config says."""


OK, NOTE, UNCHECKED, FAULT = State


class Finding(NamedTuple):
    """What one check found.

    Attributes:
        check: Its name.
        state: What it means.
        text: What is so; of what is not checked, why.
        remedies: What may be changed, the best first: lines of a config, or a sentence.
    """

    check: str
    state: State
    text: str
    remedies: tuple[str, ...] = ()

    @property
    def remedy(self) -> str:
        """What to change; '' if that is not known."""
        return next(iter(self.remedies), '')

    @property
    def fault(self) -> bool:
        """Whether a training would fail, or learn less than the config says."""
        return self.state is FAULT


class Stop(Exception):
    """The model cannot be checked any further; says why, and what to change.

    Args:
        text: Why.
        remedies: What may be changed, as in :class:`Finding`.
        state: Whether that is a fault of the config, or of what can be checked here.
    """

    def __init__(self, text: str, remedies: tuple[str, ...] = (), state: State = FAULT) -> None:
        super().__init__(text)
        self.remedies, self.state = remedies, state


def failure(error: BaseException) -> str:
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
        table.add_row(finding.check, finding.state.value, Text(finding.text))
    console = Console()
    console.width = max(console.width, 140)
    console.print(table)
    for finding in findings:
        if finding.remedy:
            print(f'{finding.check}: write {finding.remedy}')
