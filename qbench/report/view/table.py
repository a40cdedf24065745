"""The leaderboard as plain data: which columns stand in it, and each cell's text, sort key and reason.

A column in which nothing was measured is left out and said in a note with its reason. A dimension with one
value (one model, one dtype, …) is said once above the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qbench.report.view.best import find_best
from qbench.report.view.cells import (
    LONGEST_REASON,
    CellView,
    Row,
    cell_view,
    cut,
    parameters,
    reason_of,
    scale_of,
)
from qbench.report.view.display_columns import DIMENSIONS, SHOWN, Shown

__all__ = ["SHOWN", "CellView", "Head", "Row", "RowView", "Table", "build_table", "ordered", "parameters"]

KERNELS = "kernels"


@dataclass(frozen=True)
class Head:
    """A column's head."""

    name: str
    title: str
    unit: str
    direction: str
    description: str


@dataclass(frozen=True)
class RowView:
    status: str
    label: str
    method: str
    params: list[str]
    dimensions: list[str]
    cells: list[CellView]
    kernels: str
    reason: str


@dataclass(frozen=True)
class Table:
    heads: list[Head]
    dimensions: dict[str, str]
    """Of the columns that differ between rows: frame name → title."""
    with_kernels: bool
    """Whether the kernels differ, and stand in a column of their own, the last."""
    constant: dict[str, str]
    """Title → value of the dimensions with one value."""
    rows: list[RowView]
    notes: list[str]
    filters: dict[str, list[str]]


def build_table(rows: list[Row], limit: int | None = None) -> Table:
    """The leaderboard of the frame's rows (as dicts, nulls as None), in the order of `ordered`.

    `limit`: how many rows become texts; heads, notes and filters speak of all.
    """
    rows = ordered(rows)
    constant, varying = split_dimensions(rows)
    with_kernels = varying.pop(KERNELS, None) is not None
    finished = any(row["status"] == "ok" for row in rows)  # else the reasons are what there is
    shown = [one for one in SHOWN if finished and any(row[one.name] is not None for row in rows)]
    scales = {column.name: scale_of(column, rows) for column in shown}
    best = find_best(rows, shown)
    views = [
        RowView(
            status=row["status"],
            label=cut(row["label"] or row["method"]),
            method=cut(row["method"]),
            params=parameters(row["params"]),
            dimensions=[cut(str(row[name] or "–")) for name in varying],
            cells=[
                cell_view(row, column, scales[column.name], (index, column.name) in best) for column in shown
            ],
            kernels=cut(row[KERNELS] or "–"),
            reason=cut(row["reason"] or "", LONGEST_REASON),
        )
        for index, row in enumerate(rows[:limit])
    ]
    heads = [head(column, scales[column.name].unit) for column in shown]
    return Table(heads, varying, with_kernels, constant, views, notes(rows), filters(rows, varying))


def head(column: Shown, unit: str) -> Head:
    return Head(column.name, column.title, unit, column.direction, column.description)


def ordered(rows: list[Row]) -> list[Row]:
    """By model, base first, then by bits; what failed comes last."""
    return sorted(rows, key=_order)


def _order(row: Row) -> tuple[Any, ...]:
    bits = row["bits_per_weight"]
    place = (row["status"] != "ok", row["method"] != "none", -(bits or 0.0), row["label"] or "")
    return (row["suite"], row["model"], row["dtype"], row["device"], row["runtime"], *place)


def split_dimensions(rows: list[Row]) -> tuple[dict[str, str], dict[str, str]]:
    """Those with one value, by title, and the names and titles of those with several."""
    constant, varying = {}, {}
    for name, title in DIMENSIONS.items():
        values = {row[name] for row in rows if row[name] is not None}
        if len(values) > 1:
            varying[name] = title
        elif values and name not in ("run", "repetition"):  # the page's head says the run
            constant[title] = cut(str(values.pop()))
    return constant, varying


def notes(rows: list[Row]) -> list[str]:
    """One note for each default column that nothing was measured for."""
    finished = [row for row in rows if row["status"] == "ok"]
    empty = [column for column in SHOWN if finished and all(row[column.name] is None for row in rows)]
    found = []
    for column in empty:
        reasons = sorted({reason_of(row, column.name) for row in finished})
        title = column.title.replace("× base", "Perplexity × base")
        more = f"; and {len(reasons) - 3} other reasons" if len(reasons) > 3 else ""
        found.append(f"{title}: not measured ({'; '.join(reasons[:3])}{more})")
    return found


def filters(rows: list[Row], varying: dict[str, str]) -> dict[str, list[str]]:
    """Values to choose from, of every dimension that has more than one."""
    names = ["status", "method", *varying]
    values = {name: {row[name] for row in rows if row[name] is not None} for name in names}
    return {
        name: [cut(str(one)) for one in sorted(found)] for name, found in values.items() if len(found) > 1
    }
