"""Rows of many records by column: what a process that has read a part of a run's files sends back.

A column of numbers is one array, which is sent and joined as a whole; ten thousand dicts of a hundred keys
each have to be written, read and turned round key by key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.results.frames.base import Scored
from qbench.results.frames.rows import row_of
from qbench.results.store.record import Record
from qbench.results.table.columns import columns

_NUMBERS = frozenset(name for name, column in columns().items() if column.dtype in ("float64", "Int64"))
Values = NDArray[np.float64] | list[Any]
"""Of a column: numbers with NaN for null; anything else with None."""


@dataclass(frozen=True)
class Part:
    """Records one after the other."""

    values: Mapping[str, Values]
    """By the name of every column that is read from one record alone; in `missing` the reasons as dicts."""
    cells: Sequence[Scored]


def part_of(records: Iterable[Record]) -> Part:
    """Each record is let go as soon as its row stands, so that a large folder stays small."""
    rows, cells = [], []
    for record in records:
        row, cell = row_of(record)
        rows.append(row)
        cells.append(cell)
    if not rows:
        return Part({}, [])
    names = tuple(rows[0])
    by_column = zip(*map(itemgetter(*names), rows), strict=True)
    return Part({name: _column(name, found) for name, found in zip(names, by_column, strict=True)}, cells)


def joined(parts: Iterable[Part]) -> Part:
    """All of them as one."""
    found = [part for part in parts if part.cells]
    if len(found) < 2:
        return found[0] if found else Part({}, [])
    return Part(
        {name: _join([part.values[name] for part in found]) for name in found[0].values},
        [cell for part in found for cell in part.cells],
    )


def _column(name: str, values: Sequence[Any]) -> Values:
    return np.array(values, dtype=np.float64) if name in _NUMBERS else list(values)


def _join(pieces: Sequence[Any]) -> Values:
    if isinstance(pieces[0], np.ndarray):
        return np.concatenate(pieces)
    return [value for piece in pieces for value in piece]
