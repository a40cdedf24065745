"""`columns()`: the dictionary of the columns of `qbench.load()`, in their order.

A cell's identity is declared here; every other column comes from the declaration of a metric or a text.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping

from qbench.errors import ResultsError
from qbench.results.columns.column import ENDS, Column, Medium, Place, Row, heading
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS, TEXTS


@functools.cache
def columns() -> Mapping[str, Column]:
    """Columns by name, in the frame's order; ResultsError for two columns of one name."""
    declared = [*_IDENTITY, *(column for one in METRICS.values() for column in one.columns())]
    declared += [*(text.column() for text in TEXTS), *_CLOSING]
    found = {column.name: column for column in sorted(declared, key=lambda one: one.place)}
    if len(found) < len(declared):
        names = [column.name for column in declared]
        raise ResultsError(f"two columns are named {next(name for name in names if names.count(name) > 1)!r}")
    return {name: _with_companions(column, found) for name, column in found.items()}


def related() -> Iterator[Column]:
    """The columns that relate a metric to that of the base, without the ends of their intervals."""
    return (column for column in columns().values() if column.base)


def usual(medium: Medium) -> list[Column]:
    """The columns that a table shows by default, in its order."""
    ranked = {column: column.display and column.display.rank(medium) for column in columns().values()}
    return sorted((column for column, rank in ranked.items() if rank), key=lambda one: ranked[one] or 0)


def _with_companions(column: Column, known: Mapping[str, Column]) -> Column:
    """The column with the names of its ends, or as the end of another."""
    ended = next((end for end in ENDS if column.name.removesuffix(end) in known.keys() - {column.name}), "")
    own = {end: column.name + end if column.name + end in known else "" for end in ENDS}
    number = known[column.name.removesuffix(ended)]
    return dataclasses.replace(
        column,
        title=number.title + ENDS[ended] if ended else column.title or heading(column.name),
        of=number.name if ended else "",
        low=own["_low"], high=own["_high"], least=own["_min"], most=own["_max"], stderr=own["_stderr"],
    )  # fmt: skip


def _column(name: str, description: str, dtype: str, place: Place, *, title: str = "") -> Column:
    return Column(name, "", description, dtype, title or heading(name), place=place)


def _identity() -> Iterable[Column]:
    """Columns of a cell's identity; those that cells differ in besides the method are dimensions."""
    dimensions = ("suite", "run", "model", "dtype", "device", "runtime", "repetition")
    for name, (dtype, description) in _IDENTITY_TEXTS.items():
        title = {"cell_id": "Cell", "params": "Parameters"}.get(name, "")
        column = _column(name, description, dtype, Place.IDENTITY, title=title)
        yield dataclasses.replace(column, dimension=name in dimensions, hidden=name == "label")


_IDENTITY_TEXTS = {
    "suite": ("category", "name of the suite"),
    "run": ("category", "name of the run; sorts by time"),
    "cell_id": ("string", "hash of everything that can change a number"),
    "status": ("category", "ok, failed, oom, timeout or skipped"),
    "reason": ("string", "why, for every status but ok"),
    "model": ("category", "the suite's name for the model"),
    "method": ("category", "name of the quantization method"),
    "label": ("string", "the suite's name for method and parameters"),
    "params": ("string", "every parameter of the method, as JSON"),
    "dtype": ("category", "of unquantized weights and activations"),
    "device": ("category", "cpu or cuda:N"),
    "runtime": ("category", "what ran the timed work: eager, or compile; quality is eager's"),
    "repetition": ("Int64", "which repetition of the same cell"),
}
_IDENTITY = tuple(_identity())
_UTC = "datetime64[us, UTC]"
_CLOSING = (
    _column(
        "base_cell_id",
        "the base: the ok `none` cell of the same run, model (of method saved: the one it was made from), "
        "dtype, device and runtime",
        "string", Place.BASE, title="Base cell",
    ),
    dataclasses.replace(
        _column("missing", "why columns of an ok cell are null, as JSON: column → reason", "category",
                Place.CLOSING), hidden=True,
    ),
    _column("started_at", "start of the cell, UTC", _UTC, Place.CLOSING, title="Started"),
    _column("ended_at", "end of the cell, UTC", _UTC, Place.CLOSING, title="Ended"),
)  # fmt: skip


NAMES = (
    "suite", "run", "cell_id", "model", "method", "label", "dtype", "device", "runtime", "repetition",
)  # fmt: skip


def _long(name: str) -> Column:
    """Columns of the frame of cells, with every text a category, since it stands in hundreds of rows."""
    known = columns()[name]
    return Column(name, "", known.description, "Int64" if known.dtype == "Int64" else "category")


IDENTITY = tuple(_long(name) for name in NAMES)


def identity(record: Record) -> Row:
    """Identity of a row of samples, layers or tasks: column → value, under the names of `qbench.load()`."""
    cell = record.cell
    own = {"suite": record.suite, "run": record.run, "cell_id": cell.id, "model": cell.model.name}
    return {**own, **{name: getattr(cell, name) for name in NAMES[4:]}}
