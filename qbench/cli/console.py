"""How the command line prints tables: no wider than the terminal, and wide where the output is a file."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table

FILE_WIDTH = 200


def console() -> Console:
    """A console on standard output; what is printed is text, never markup."""
    return Console(width=None if sys.stdout.isatty() else FILE_WIDTH, highlight=False, markup=False)


def table(first: str, *columns: str, title: str | None = None) -> Table:
    """A table with light rules whose first column is never wrapped."""
    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    made.add_column(first, no_wrap=True)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made
