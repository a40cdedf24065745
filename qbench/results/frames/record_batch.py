"""`RecordBatch`: rows of many records by column, as a process that has read some of a run's files sends them.

A column of numbers is one array, which is sent and joined as a whole; ten thousand dicts of a hundred keys
each have to be written, read and turned round key by key. A row comes from one record alone; numbers that
relate rows (ratios, speedups, intervals over windows) are added by `frame.py`, once all of them stand.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.results.columns.column import Row
from qbench.results.frames.base import Related, related_of
from qbench.results.store.record import Record, reading
from qbench.results.table.columns import columns, identity
from qbench.results.table.metrics import TEXTS, values

_NUMBERS = frozenset(name for name, column in columns().items() if column.dtype in ("float64", "Int64"))
Values = NDArray[np.float64] | list[Any]
"""Values of a column: numbers with NaN for null; anything else with None."""
_PARAMS = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class RecordBatch:
    """Records one after the other."""

    values: Mapping[str, Values]
    """Values by name of every column that is read from one record alone; `missing` holds dicts of reasons."""
    cells: Sequence[Related]


def batch_of(records: Iterable[Record]) -> RecordBatch:
    """Batch of these records, each released once its row is made, so that a large folder stays small."""
    rows, cells = [], []
    for record in records:
        row, cell = row_of(record)
        rows.append(row)
        cells.append(cell)
    if not rows:
        return RecordBatch({}, [])
    names = tuple(rows[0])
    by_column = zip(*map(itemgetter(*names), rows), strict=True)
    pairs = zip(names, by_column, strict=True)
    return RecordBatch({name: _column(name, found) for name, found in pairs}, cells)


def joined(batches: Iterable[RecordBatch]) -> RecordBatch:
    """Joins batches into one."""
    found = [batch for batch in batches if batch.cells]
    if len(found) < 2:
        return found[0] if found else RecordBatch({}, [])
    return RecordBatch(
        {name: _join([batch.values[name] for batch in found]) for name in found[0].values},
        [cell for batch in found for cell in batch.cells],
    )


def _column(name: str, values: Sequence[Any]) -> Values:
    return np.array(values, dtype=np.float64) if name in _NUMBERS else list(values)


def _join(pieces: Sequence[Any]) -> Values:
    if isinstance(pieces[0], np.ndarray):
        return np.concatenate(pieces)
    return [value for piece in pieces for value in piece]


def row_of(record: Record) -> tuple[Row, Related]:
    """The record's row, and what relating it to others needs.

    `missing` is a dict of reasons, one for all records that lack the same: it must not be changed.
    ResultsError names a record that holds, deeper than it was checked when it was read, what nobody wrote.
    """
    with reading(record):
        row = _row(record)
        return row, related_of(record, row["cell_id"], row)


def _row(record: Record) -> Row:
    row: Row = {
        **identity(record), "status": record.status, "reason": record.reason,
        "params": _PARAMS.encode(record.cell.params), "started_at": record.started_at or None,
        "ended_at": record.ended_at or None,
    }  # fmt: skip
    row |= {text.name: text.value(record) for text in TEXTS}
    found, reasons = values(record)
    row |= found
    row["missing"] = _interned(tuple(reasons.items()))
    return row


@functools.lru_cache(maxsize=1024)
def _interned(reasons: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return dict(reasons)
