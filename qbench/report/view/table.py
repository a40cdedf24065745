"""`TableView`: the leaderboard as one view model, which page, terminal and Markdown draw.

A column in which nothing was measured is left out and said in a note with its reason. A dimension with one
value (one model, one dtype, …) is said once beside the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from qbench.report.view.cells import Field, cut, reason_of, scale_of
from qbench.report.view.digits import Scale
from qbench.results.columns.column import Column, Medium, Row
from qbench.results.table.columns import columns, usual

KERNELS = "kernels"


@dataclass(frozen=True)
class TableView:
    """Rows, the columns that hold anything, and what all rows have in common."""

    rows: list[Row]
    """In the table's order."""
    varying: Mapping[str, str]
    """Dimensions that differ between rows: name → title."""
    constant: Mapping[str, str]
    """Dimensions with one value: name → that value."""
    fields: Mapping[str, Field]
    """Columns that hold anything, by name, with the unit that suits all rows."""

    @property
    def short_varying(self) -> dict[str, str]:
        """Dimensions that differ, without the kernels, whose names are long."""
        return {name: title for name, title in self.varying.items() if name != KERNELS}

    def usual(self, medium: Medium) -> list[Field]:
        """The columns that this medium shows by default; none where no cell has finished."""
        if not any(row["status"] == "ok" for row in self.rows):
            return []
        return [self.fields[column.name] for column in usual(medium) if column.name in self.fields]


def table_view(rows: list[Row], shown: Iterable[Column] | None = None) -> TableView:
    """The view of the frame's rows (as dicts, nulls as None), which are in the table's order.

    `shown`: the columns to choose from; None: every column but the hidden ones.
    """
    if shown is None:
        shown = (column for column in columns().values() if not column.hidden)
    present = [column for column in shown if any(row[column.name] is not None for row in rows)]
    fields = {column.name: field_of(column, rows) for column in present}
    values = {
        column: {row[column.name] for row in rows if row[column.name] is not None}
        for column in columns().values()
        if column.dimension
    }
    varying = {column.name: column.title for column, found in values.items() if len(found) > 1}
    constant = {
        column.name: str(*found)
        for column, found in values.items()
        if len(found) == 1 and column.name != "repetition"
    }
    return TableView(rows, varying, constant, fields)


def field_of(column: Column, rows: Iterable[Row]) -> Field:
    """The column in the unit that suits these rows."""
    return Field(column, scale_of(column, rows) if column.number else Scale())


def ordered(rows: list[Row]) -> list[Row]:
    """Rows by model, base first, then by bits; failed cells last."""
    return sorted(rows, key=_order)


def _order(row: Row) -> tuple[Any, ...]:
    bits = row["bits_per_weight"]
    place = (row["status"] != "ok", row["method"] != "none", -(bits or 0.0), row["label"] or "")
    return (row["suite"], row["model"], row["dtype"], row["device"], row["runtime"], *place)


def notes(view: TableView) -> list[str]:
    """One note for each default column of the page that nothing was measured for."""
    finished = [row for row in view.rows if row["status"] == "ok"]
    found = []
    for column in usual("page") if finished else ():
        if any(row[column.name] is not None for row in finished):
            continue
        reasons = sorted({reason_of(row, column.name) for row in finished})
        more = f"; and {len(reasons) - 3} other reasons" if len(reasons) > 3 else ""
        found.append(f"{column.title}: not measured ({'; '.join(reasons[:3])}{more})")
    return found


def filters(view: TableView) -> dict[str, list[str]]:
    """Values to choose from, of every dimension that has more than one."""
    names = ["status", "method", *view.varying]
    values = {name: {row[name] for row in view.rows if row[name] is not None} for name in names}
    return {
        name: [cut(str(one)) for one in sorted(found)] for name, found in values.items() if len(found) > 1
    }
