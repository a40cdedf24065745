"""Identity of a row of samples or layers: the same ten columns, under the names of `qbench.load()`."""

from __future__ import annotations

from qbench.results.columns.column import Column, Row
from qbench.results.store.record import Record
from qbench.results.table.columns import columns

NAMES = (
    "suite", "run", "cell_id", "model", "method", "label", "dtype", "device", "runtime", "repetition",
)  # fmt: skip


def _column(name: str) -> Column:
    """Columns of the frame of cells, with every text a category, since it stands in hundreds of rows."""
    known = columns()[name]
    return Column(name, "", known.description, "Int64" if known.dtype == "Int64" else "category")


IDENTITY = tuple(_column(name) for name in NAMES)


def identity(record: Record) -> Row:
    """Column → value."""
    cell = record.cell
    own = {"suite": record.suite, "run": record.run, "cell_id": cell.id, "model": cell.model.name}
    return {**own, **{name: getattr(cell, name) for name in NAMES[4:]}}
