"""`load`: a tree of results as one tidy pandas DataFrame, a row per cell, failures included.

The base of a cell is the `none` cell of the same run, model, dtype, device and runtime; of a quantized
checkpoint, that of the model that it was made from. Ratios of perplexity are paired, and null where the two
were not scored on the very same windows. Intervals of all cells with the same windows are computed at once
(see `statistics.py`), so that thousands of cells stay cheap.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qbench.probes.latency.speedups import TIMES, Speedup, speedup
from qbench.probes.latency.speedups import Part as TimedPart
from qbench.results.frames import missing
from qbench.results.frames.base import APART, Packed, Scored, base_of, find_bases, losses, unpacked
from qbench.results.frames.record_batch import Part, Values, joined, part_of
from qbench.results.frames.typed import typed
from qbench.results.stats.bootstrap import Kind, intervals
from qbench.results.store.folders import Store
from qbench.results.store.parallel import uncollected
from qbench.results.store.record import Record
from qbench.results.table.columns import columns

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
        frame = from_parts(part for run in store.chosen(runs) for part in store.by_parts(run, part_of))
    frame.attrs["problems"] = list(store.problems)
    return frame


def from_records(records: Iterable[Record]) -> pd.DataFrame:
    """The frame of these records, in their order; ratios relate to bases among them."""
    return from_parts([part_of(records)])


def from_parts(parts: Iterable[Part]) -> pd.DataFrame:
    """The frame of records that were read part by part."""
    whole = joined(parts)
    cells, values = whole.cells, dict(whole.values)
    if not cells:
        return typed({}, columns())
    bases = find_bases(cells)
    related = [base_of(cell, bases) for cell in cells]
    values["base_cell_id"] = [base.cell_id if base else None for base in related]
    _relate(values, cells, related)
    _add_intervals(values, cells, related)
    values["missing"] = _missing(values, cells, related)
    return typed(values, columns())


def _relate(values: Columns, cells: Sequence[Scored], bases: Sequence[Scored | None]) -> None:
    """Fills in what a cell has over its base: bytes, speedups."""
    pairs = list(zip(cells, bases, strict=True))
    values["weight_bytes_ratio"] = _numbers(
        _quotient(cell.measured["weight_bytes"], base.measured["weight_bytes"]) if base else None
        for cell, base in pairs
    )
    for part in TIMES:
        name = f"{part}_speedup"
        *numbers, whys = zip(*(_speedup(part, cell, base) for cell, base in pairs), strict=True)
        for column, found in zip(missing.with_ends(name), numbers, strict=True):
            values[column] = _numbers(found)
        values["missing"] = [
            reasons if why is None else {**reasons, **missing.of_ends(name, why)}
            for reasons, why in zip(values["missing"], whys, strict=True)
        ]


def _speedup(part: TimedPart, cell: Scored, base: Scored | None) -> Speedup:
    if base is None:
        return Speedup(None)
    time = TIMES[part]
    return speedup(base.rounds, cell.rounds, part, _quotient(base.measured[time], cell.measured[time]))


def _quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _numbers(values: Iterable[float | None]) -> NDArray[np.float64]:
    return np.array(list(values), dtype=np.float64)


def _add_intervals(values: Columns, cells: Sequence[Scored], bases: Sequence[Scored | None]) -> None:
    """Fills in the columns that have an interval, all cells with the same tokens by window at once."""
    for column in missing.RELATED:  # copies: what is filled in is not the part's
        values[column] = np.array(values.get(column, np.full(len(cells), np.nan)))
    for tokens, members in _alike(cells, lambda cell: cell.windows if cell.nll is not None else b""):
        _fill(values, "perplexity", "own", tokens, members, losses(cells[place] for place in members))
        paired = {
            place: base for place in members if (base := bases[place]) and cells[place].scored_like(base)
        }
        gaps = losses(cells[place] for place in paired) - losses(paired.values())
        _fill(values, "perplexity_ratio", "difference", tokens, list(paired), gaps)
    for tokens, members in _alike(cells, lambda cell: cell.scored):
        for name, sums, kind in APART:
            found = unpacked(cells[place].apart[sums] for place in members)
            _fill(values, name, kind, tokens, members, found)


def _alike(
    cells: Sequence[Scored], tokens: Callable[[Scored], Packed]
) -> Iterator[tuple[NDArray[np.float64], list[int]]]:
    """Tokens by window, and the places of the cells that have them."""
    groups: dict[Packed, list[int]] = defaultdict(list)
    for place, cell in enumerate(cells):
        groups[tokens(cell)].append(place)
    groups.pop(b"", None)
    yield from ((unpacked([packed]), members) for packed, members in groups.items())


def _fill(
    values: Columns,
    name: str,
    kind: Kind,
    tokens: NDArray[np.float64],
    places: list[int],
    sums: NDArray[np.float64],
) -> None:
    """Estimate and ends, of sums by window; what is named a perplexity is exponentiated."""
    ends = intervals(sums.reshape(len(places), len(tokens)), tokens, kind)
    if name.startswith("perplexity"):
        with np.errstate(over="ignore"):
            ends = (np.exp(ends[0]), np.exp(ends[1]), np.exp(ends[2]))
    for column, end in zip(missing.with_ends(name), ends, strict=True):
        numbers = values[column]
        assert isinstance(numbers, np.ndarray), column
        numbers[places] = np.where(np.isfinite(end), end, np.nan)


def _missing(values: Columns, cells: Sequence[Scored], bases: Sequence[Scored | None]) -> list[str]:
    """Of every cell, why numbers are null, as JSON."""
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
    """As JSON; the rows of a folder lack few different sets of numbers."""
    return json.dumps(dict(reasons), ensure_ascii=False)
