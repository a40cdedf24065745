"""Output of the command line: tables as wide as the terminal, wider where the output is a file."""

from __future__ import annotations

import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

FILE_WIDTH = 200


def console() -> Console:
    """A console on standard output that prints plain text, never markup."""
    return Console(width=None if sys.stdout.isatty() else FILE_WIDTH, highlight=False, markup=False)


def table(first: str, *columns: str, title: str | None = None) -> Table:
    """A table with light rules whose first column is never wrapped."""
    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    made.add_column(first, no_wrap=True)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def put(text: str, output: Path | None) -> None:
    """Prints the text, or writes it atomically to a file and prints that file's name."""
    if output is None:
        sys.stdout.write(text)
        return
    from qbench.errors import ResultsError
    from qbench.results.store.atomic import write_bytes_atomic

    if not output.parent.is_dir():
        raise ResultsError(f"cannot write {output}: there is no folder {output.parent}")
    write_bytes_atomic(output, text.encode())
    sys.stdout.write(f"{output}\n")
