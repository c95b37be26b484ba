"""How the data of a config is shown."""

from collections.abc import Sequence

from inimg_mm.data_files.summary import Summary

MOST = 40
"""Classes that a table shows; the rest is a line."""


def print_summaries(summaries: Sequence[Summary]) -> None:
    """Print a table of classes for each data set, with what is said of it, and its faults below."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.width = max(console.width, 140)
    for one in summaries:
        print(f'{one.loader}: {one.source}')
        table = Table('class', one.counted, 'left out', 'in images')
        for row in one.rows[:MOST]:
            table.add_row(Text(row.name), str(row.used), str(row.left_out or ''), str(row.images))
        if rest := one.rows[MOST:]:
            used, left_out = sum(row.used for row in rest), sum(row.left_out for row in rest)
            table.add_row(f'{len(rest)} more classes', str(used), str(left_out or ''), '')
        if one.rows:
            used, left_out = sum(row.used for row in one.rows), sum(row.left_out for row in one.rows)
            table.add_section()
            table.add_row('all', str(used), str(left_out or ''), '')
            console.print(table)
        for note in one.notes:
            print(f'  {note}')
        for fault in one.faults:
            print(f'  FAULT: {fault}')
