"""`load`: a tree of results as one tidy pandas DataFrame, a row per cell, failures included.

The base of a cell is the `none` cell of the same run, model, dtype, device and runtime; of a quantized
checkpoint, that of the model that it was made from. Ratios of perplexity are paired, and null where the two
were not scored on the very same windows. Intervals of all cells with the same windows are computed at once
(see `results/stats/bootstrap.py`), so that thousands of cells stay cheap.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qbench.results.columns.metric import VersusBase
from qbench.results.columns.paired_blocks import Speedup, speedup
from qbench.results.frames import missing
from qbench.results.frames.base import (
    BY_WINDOW,
    PAIRED,
    QUOTIENTS,
    Packed,
    Related,
    Windows,
    base_of,
    find_bases,
    quotient,
    unpacked,
)
from qbench.results.frames.record_batch import RecordBatch, Values, batch_of, joined
from qbench.results.frames.typed import typed
from qbench.results.stats.bootstrap import Kind, intervals
from qbench.results.store.folders import Store
from qbench.results.store.parallel import uncollected
from qbench.results.store.record import Record
from qbench.results.table.columns import columns
from qbench.results.table.metrics import METRICS

Columns = dict[str, Values]


def load(
    path: str | Path = "results/", runs: Literal["newest", "all"] = "newest", *, strict: bool = True
) -> pd.DataFrame:
    """One row per cell of the newest run of each suite, or of all runs.

    `path` is a tree of results, a suite's folder or a run's. Units stand in `frame.attrs["units"]`, the
    dictionary of columns in `columns()`. A file that cannot be read raises a ResultsError, or with
    `strict=False` is left out and named in `frame.attrs["problems"]`.
    """
    return from_store(Store(Path(path), strict=strict), runs)


def from_store(store: Store, runs: str = "newest") -> pd.DataFrame:
    """The frame of the store's newest run of each suite, or of all runs; ResultsError where it has none."""
    with uncollected():
        frame = from_batches(batch for run in store.chosen(runs) for batch in store.by_parts(run, batch_of))
    frame.attrs["problems"] = list(store.problems)
    return frame


def from_records(records: Iterable[Record]) -> pd.DataFrame:
    """The frame of these records, in their order; ratios relate to bases among them."""
    return from_batches([batch_of(records)])


def from_batches(batches: Iterable[RecordBatch]) -> pd.DataFrame:
    """The frame of records that were read batch by batch."""
    whole = joined(batches)
    cells, values = whole.cells, dict(whole.values)
    if not cells:
        return typed({}, columns())
    bases = find_bases(cells)
    related = [base_of(cell, bases) for cell in cells]
    values["base_cell_id"] = [base.cell_id if base else None for base in related]
    for name, versus in QUOTIENTS.items():
        _relate(values, name, versus, list(zip(cells, related, strict=True)))
    _add_intervals(values, cells, related)
    values["missing"] = _missing(values, cells, related)
    return typed(values, columns())


Pairs = Sequence[tuple[Related, Related | None]]
"""Cells and their bases."""


def _relate(values: Columns, name: str, versus: VersusBase, pairs: Pairs) -> None:
    """Fills in what relates two numbers of a metric, and where they have blocks, its interval."""
    relation = METRICS[name].relation
    if versus.blocks is None:
        values[relation] = _numbers(_quotient(name, versus, *pair) for pair in pairs)
        return
    *numbers, whys = zip(*(_speedup(name, versus, *pair) for pair in pairs), strict=True)
    for column, found in zip(missing.with_ends(relation), numbers, strict=True):
        values[column] = _numbers(found)
    values["missing"] = [
        reasons if why is None else {**reasons, **missing.of_ends(relation, why)}
        for reasons, why in zip(values["missing"], whys, strict=True)
    ]


def _speedup(name: str, versus: VersusBase, cell: Related, base: Related | None) -> Speedup:
    if base is None:
        return Speedup(None)
    return speedup(base.blocks[name], cell.blocks[name], _quotient(name, versus, cell, base))


def _quotient(name: str, versus: VersusBase, cell: Related, base: Related | None) -> float | None:
    return quotient(versus, cell.measured[name], base.measured[name]) if base else None


def _numbers(values: Iterable[float | None]) -> NDArray[np.float64]:
    return np.array(list(values), dtype=np.float64)


def _add_intervals(values: Columns, cells: Sequence[Related], bases: Sequence[Related | None]) -> None:
    """Fills in the columns that have an interval, all cells with the same tokens by window at once."""
    for column in missing.OVER_WINDOWS:  # copies: what is filled in is not the batch's
        for end in missing.with_ends(column):
            values[end] = np.array(values.get(end, np.full(len(cells), np.nan)))
    paired = {metric.name: metric.relation for metric in PAIRED}
    for name, declared in BY_WINDOW.items():
        own = [cell.windows[name] for cell in cells]
        others = [base.windows[name] if base else None for base in bases]
        for tokens, places in _alike(own):
            sums = unpacked(own[place].sums for place in places)
            _fill(values, name, declared.correlation, declared.exponential, tokens, places, sums)
            if name in paired:
                pairs = {
                    place: other for place in places if (other := others[place]) and own[place].like(other)
                }
                gaps = unpacked(own[place].sums for place in pairs)
                gaps = gaps - unpacked(other.sums for other in pairs.values())
                kind = declared.paired_correlation
                _fill(values, paired[name], kind, declared.exponential, tokens, list(pairs), gaps)


def _alike(own: Sequence[Windows]) -> Iterator[tuple[NDArray[np.float64], list[int]]]:
    """Tokens by window, and the places of the cells that have sums of them."""
    groups: dict[Packed, list[int]] = defaultdict(list)
    for place, windows in enumerate(own):
        if windows.sums:
            groups[windows.tokens].append(place)
    yield from ((unpacked([packed]), places) for packed, places in groups.items())


def _fill(
    values: Columns,
    name: str,
    kind: Kind,
    exponential: bool,
    tokens: NDArray[np.float64],
    places: list[int],
    sums: NDArray[np.float64],
) -> None:
    """Estimate and ends, of sums by window."""
    ends = intervals(sums.reshape(len(places), len(tokens)), tokens, kind)
    if exponential:
        with np.errstate(over="ignore"):
            ends = (np.exp(ends[0]), np.exp(ends[1]), np.exp(ends[2]))
    for column, end in zip(missing.with_ends(name), ends, strict=True):
        numbers = values[column]
        assert isinstance(numbers, np.ndarray), column
        numbers[places] = np.where(np.isfinite(end), end, np.nan)


def _missing(values: Columns, cells: Sequence[Related], bases: Sequence[Related | None]) -> list[str]:
    """Reasons of null numbers by cell, as JSON."""
    names = ("status", "method", "missing", *missing.RELATED)
    rows = zip(*(_with_none(values.get(name, ())) for name in names), strict=True)
    return [
        _reasons_text(tuple(missing.of_row(dict(zip(names, row, strict=True)), cell, base).items()))
        for row, cell, base in zip(rows, cells, bases, strict=True)
    ]


def _with_none(values: Values | tuple[()]) -> Sequence[Any]:
    if not isinstance(values, np.ndarray):
        return values
    found: list[Any] = np.where(np.isnan(values), None, values).tolist()  # type: ignore[call-overload]
    return found


@functools.lru_cache(maxsize=1024)
def _reasons_text(reasons: tuple[tuple[str, str], ...]) -> str:
    """JSON of the reasons; the rows of a folder lack few different sets of numbers."""
    return json.dumps(dict(reasons), ensure_ascii=False)
