"""The leaderboard's table as markup for a viewer that runs no script: the usual columns of the first rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qbench.report.view.cells import LONGEST_REASON, Field, cut, ends, has_interval, reason_of
from qbench.report.view.table import KERNELS, TableView, filters, notes
from qbench.results.columns.column import Row

ROWS = 100
"""Rows that stand in the page's markup; the script draws all of them."""


@dataclass(frozen=True)
class StillCell:
    """One number: its text, the spread to print after it, or why there is none."""

    text: str
    spread: str = ""
    reason: str = ""
    best: bool = False
    title: str = ""


@dataclass(frozen=True)
class StillRow:
    status: str
    label: str
    method: str
    dimensions: list[str]
    cells: list[StillCell]
    reason: str


@dataclass(frozen=True)
class StillTable:
    """The table, and what the page says around it."""

    fields: list[Field]
    dimensions: dict[str, str]
    """Dimensions that differ between rows: frame name → title."""
    constant: dict[str, str]
    """Name → value of the dimensions with one value."""
    rows: list[StillRow]
    notes: list[str]
    filters: dict[str, list[str]]


def still_table(view: TableView, best: Mapping[str, Sequence[int]]) -> StillTable:
    """`best`: column → places of the marked rows. Fields, notes and filters speak of all rows."""
    fields = view.usual("page")
    dimensions = view.short_varying
    constant = {name: cut(value) for name, value in view.constant.items() if name != "run"}
    rows = [
        StillRow(
            status=row["status"],
            label=cut(row["label"] or row["method"]),
            method=cut(row["method"]),
            dimensions=[cut(str(row[name] or "–")) for name in dimensions],
            cells=[_cell(row, one, place in best.get(one.column.name, ())) for one in fields],
            reason=cut(row["reason"] or "", LONGEST_REASON),
        )
        for place, row in enumerate(view.rows[:ROWS])
    ]
    choices = {name: values for name, values in filters(view).items() if name != KERNELS}
    return StillTable(fields, dimensions, constant, rows, notes(view), choices)


def _cell(row: Row, field: Field, best: bool) -> StillCell:
    column = field.column
    value = row[column.name]
    if value is None:
        return StillCell("–", reason=reason_of(row, column.name))
    text, spread = field.text(row)
    low, high = ends(row, column)
    title = f"{value!r}"
    if low is not None and high is not None:
        title += f", {'interval' if has_interval(row, column) else 'range'} {low!r} to {high!r}"
    return StillCell(text, spread, best=best, title=title)
