"""The table for a terminal: few columns, failures with their reason; `qbench show` and the end of a run.

What does not fit into the terminal's width is left out from the right, and named under the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import pandas as pd
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from qbench.report.text.sanitize import plain, plain_name
from qbench.report.view.cells import Field
from qbench.report.view.context import plain_rows
from qbench.report.view.names import short
from qbench.report.view.rows import column_of, sorted_by, that_fit
from qbench.report.view.table import KERNELS, TableView, field_of, ordered, table_view
from qbench.results.columns.column import Row
from qbench.results.table.columns import columns, usual

_COLOURS = {"ok": "green", "failed": "red", "oom": "red", "timeout": "yellow", "skipped": "bright_black"}
_FEWEST = 2
"""Columns that stay however narrow it is."""
_GAP = 2
_LEAST_NAME = 16
_MOST_FAILURES = 20


@dataclass(frozen=True)
class Wanted:
    """Arguments of `qbench show`."""

    filters: Sequence[Mapping[str, list[str]]] = ()
    sort: str | None = None
    columns: Sequence[str] = ()
    """None: the usual ones, as many as there is room for."""


@dataclass(frozen=True)
class Listing:
    """A table, which rich draws in the width that it has."""

    view: TableView
    fields: list[Field]
    chosen: bool
    """True where the reader named the columns."""
    problems: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        return self.view.rows

    @property
    def varying(self) -> dict[str, str]:
        """Dimensions that differ between the rows, and are not among the columns that the reader named."""
        named = {one.column.name for one in self.fields if self.chosen}
        return {name: title for name, title in self.view.short_varying.items() if name not in named}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = _widest(["Method", *(_name(row) for row in self.rows)])
        fields = self.fields if self.chosen else self._fitting(options.max_width - names)
        if len(fields) < len(self.fields):  # long names take two lines before a number goes
            names = min(names, max(_LEAST_NAME, options.max_width * 2 // 5))
            fields = self._fitting(options.max_width - names)
        yield self._table(fields, names) if self.rows else Text("No cell has finished yet.")
        yield self._caption([one.column.head for one in self.fields[len(fields) :]])

    def _fitting(self, width: int) -> list[Field]:
        """The first fields that fit beside the names."""
        for name, title in self.varying.items():
            width -= _GAP + _widest([title, *(_dimension(row, name) for row in self.rows)])
        kept = 0
        for one in self.fields:
            texts = [*_head(one).plain.split("\n"), *(_number(row, one).plain for row in self.rows)]
            texts += [] if kept else [row["status"] for row in self.rows if row["status"] != "ok"]
            width -= _GAP + _widest(texts)
            if width < 0 and kept >= _FEWEST:
                break
            kept += 1
        return self.fields[:kept]

    def _table(self, fields: Sequence[Field], names: int) -> Table:
        drawn = Table(box=None, pad_edge=False, header_style="bold")
        drawn.add_column("Method", overflow="fold", max_width=names)
        for title in self.varying.values():
            drawn.add_column(title, overflow="fold")
        for one in fields:
            number = one.column.number
            side: Literal["left", "right"] = "right" if number else "left"
            drawn.add_column(_head(one), justify=side, no_wrap=number, overflow="fold")
        for row in self.rows:
            texts = (_name(row), *(_dimension(row, name) for name in self.varying))
            drawn.add_row(*map(Text, texts), *_cells(row, fields))
        return drawn

    def _caption(self, left_out: list[str]) -> Text:
        constant = {name: value for name, value in self.view.constant.items() if name != KERNELS}
        said = (f"{columns()[name].title}: {plain_name(value)}" for name, value in constant.items())
        lines = [Text("   ".join(said), "bright_black")]
        if left_out:
            lines.append(Text(f"No room for: {', '.join(left_out)}; --columns chooses", "bright_black"))
        lines += [
            *_failures(self.rows),
            *(Text(f"left out: {plain(problem)}", "red") for problem in self.problems),
        ]
        return Text("\n").join([Text(), *(line for line in lines if line)])


def table(frame: pd.DataFrame, wanted: Wanted | None = None) -> Listing:
    """The frame (see `qbench.load`), ready for rich to print, with the digits of the page.

    Under it stand what all rows share and the reason of every failure. Texts from records are literal: rich
    reads no markup in them, and the terminal no escape sequence (see `plain`). ResultsError where a filter
    matches nothing or a column is unknown.
    """
    wanted = wanted or Wanted()
    rows = that_fit(plain_rows(frame), wanted.filters)
    rows = sorted_by(rows, wanted.sort) if wanted.sort else ordered(rows)
    shown = [column_of(name) for name in wanted.columns] or usual("terminal")
    view = table_view(rows, shown)
    measured = shown if wanted.columns else [column for column in shown if column.name in view.fields]
    fields = [field_of(column, rows) for column in measured or shown[:1]]  # one has to say how cells ended
    return Listing(view, fields, bool(wanted.columns), list(frame.attrs.get("problems", [])))


def _failures(rows: list[Row]) -> list[Text]:
    """A line for each; those of one status and reason together."""
    failed = sorted((row for row in rows if row["status"] != "ok"), key=_why)
    lines = []
    for (status, reason), members in groupby(failed, key=_why):
        names = list(dict.fromkeys(map(_name, members)))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append(Text.assemble((status, _COLOURS[status]), f" {', '.join(names[:3])}{more}: {reason}"))
    hidden = len(lines) - _MOST_FAILURES
    return [*lines[:_MOST_FAILURES], *([Text(f"… and {hidden} other reasons")] if hidden > 0 else [])]


def _why(row: Row) -> tuple[str, str]:
    return row["status"], plain(row["reason"] or "no reason was recorded")


def _name(row: Row) -> str:
    return plain_name(short(row["label"] or row["method"]))


def _dimension(row: Row, name: str) -> str:
    return "–" if row[name] is None else plain_name(row[name])


def _head(one: Field) -> Text:
    return Text(f"{one.column.narrow_head}\n{one.scale.unit} {one.column.arrow}".rstrip())


def _cells(row: Row, fields: Sequence[Field]) -> list[Text]:
    """Its numbers; where it has none because it did not end well, that comes first."""
    numbers = [_number(row, one) for one in fields]
    if row["status"] != "ok" and fields[0].column.number:
        numbers[0] = Text(row["status"], _COLOURS[row["status"]])
    return numbers


def _number(row: Row, one: Field) -> Text:
    text, spread = one.text(row)
    drawn = Text(text if one.column.number else plain(text))
    if spread and one.column.display and one.column.display.spread:
        drawn.append(f" {spread}", style="bright_black")
    return drawn


def _widest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts))
