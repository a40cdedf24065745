"""`load`: a tree of results as one tidy pandas DataFrame, a row per cell, failures included.

The base of a cell is the `none` cell of the same run, model, dtype, device and runtime; of a quantized
checkpoint, that of the model that it was made from. Ratios of perplexity are paired, and null where the two
were not scored on the very same windows. Intervals of all cells with the same windows are computed at once
(see `statistics.py`), so that thousands of cells stay cheap.
"""

from __future__ import annotations

import functools
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from qbench.errors import ResultsError, did_you_mean
from qbench.results import missing
from qbench.results.base import Scored, base_of, find_bases
from qbench.results.columns import columns
from qbench.results.parallel import uncollected
from qbench.results.record import Record
from qbench.results.rows import Row, row_of
from qbench.results.speedups import TIMES, Part, speedup
from qbench.results.statistics import Kind, intervals
from qbench.results.store import MANIFEST, Run, Store


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
        frame = from_rows(found for run in chosen_runs(store, runs) for found in store.each(run, row_of))
    frame.attrs["problems"] = list(store.problems)
    return frame


def chosen_runs(store: Store, runs: str) -> list[Run]:
    """What `newest` or `all` stands for in this store."""
    if runs not in ("newest", "all"):
        raise ResultsError(f"runs = {runs!r}; {did_you_mean(runs, ['newest', 'all'])}")
    chosen = store.newest() if runs == "newest" else store.runs()
    if not chosen:
        raise ResultsError(
            f"no runs in {store.root}: neither it nor its folders hold a {MANIFEST} or a record"
        )
    return chosen


def from_records(records: Iterable[Record]) -> pd.DataFrame:
    """The frame of these records, in their order; ratios relate to bases among them.

    Each record is let go as soon as its row stands, so that an iterator over a large folder stays small.
    """
    return from_rows(map(row_of, records))


def from_rows(found: Iterable[tuple[Row, Scored]]) -> pd.DataFrame:
    """The frame of rows of single records (see `row_of`), which it changes."""
    rows, cells = list[Row](), list[Scored]()
    for row, cell in found:
        rows.append(row)
        cells.append(cell)
    bases = find_bases(cells)
    related = [base_of(cell, bases) for cell in cells]
    for row, cell, base in zip(rows, cells, related, strict=True):
        row.update(_relative(row, cell, base))
    _add_intervals(rows, cells, related)
    for row, cell, base in zip(rows, cells, related, strict=True):
        row["missing"] = _reasons_text(tuple(missing.of_row(row, cell, base).items()))
    return _typed(rows)


@functools.lru_cache(maxsize=1024)
def _reasons_text(reasons: tuple[tuple[str, str], ...]) -> str:
    """As JSON; the rows of a folder lack few different sets of numbers."""
    return json.dumps(dict(reasons), ensure_ascii=False)


def _relative(row: Row, cell: Scored, base: Scored | None) -> Row:
    if base is None:
        return {}
    return {
        "base_cell_id": base.cell_id,
        "weight_bytes_ratio": _quotient(row["weight_bytes"], base.measured["weight_bytes"]),
        **_speedup("prefill", row, cell, base),
        **_speedup("decode", row, cell, base),
    }


def _speedup(part: Part, row: Row, cell: Scored, base: Scored) -> Row:
    time = TIMES[part]
    found = speedup(base.rounds, cell.rounds, part, _quotient(base.measured[time], row[time]))
    name = f"{part}_speedup"
    if found.no_interval is not None:
        row["missing"] |= missing.of_ends(name, found.no_interval)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _add_intervals(rows: list[Row], cells: list[Scored], bases: list[Scored | None]) -> None:
    """Fills the columns that have an interval, all cells with the same tokens by window at once."""
    for tokens, members in _alike(cells, lambda cell: cell.tokens if cell.nll is not None else ()):
        _fill("perplexity", "own", tokens, [(rows[index], cells[index].nll) for index in members])
        gaps = [(rows[index], cells[index].nll_above(bases[index])) for index in members]
        _fill("perplexity_ratio", "difference", tokens, gaps)
    for tokens, members in _alike(cells, lambda cell: cell.scored):
        for name, sums, kind in _APART:
            _fill(name, kind, tokens, [(rows[index], cells[index].apart[sums]) for index in members])


_APART: tuple[tuple[str, str, Kind], ...] = (
    ("kl_divergence", "kl", "own"),  # by window it correlates nearly as losses do
    ("top1_agreement", "agree", "difference"),
)


def _alike(
    cells: list[Scored], tokens: Callable[[Scored], tuple[float, ...]]
) -> Iterator[tuple[tuple[float, ...], list[int]]]:
    """Tokens by window, and the cells that have them."""
    groups: dict[tuple[float, ...], list[int]] = defaultdict(list)
    for index, cell in enumerate(cells):
        groups[tokens(cell)].append(index)
    groups.pop((), None)
    yield from groups.items()


def _fill(name: str, kind: Kind, tokens: tuple[float, ...], found: list[tuple[Row, Any]]) -> None:
    """Estimate and ends into the rows, of sums by window; what is named a perplexity is exponentiated."""
    rows = [row for row, sums in found if sums is not None]
    sums = np.asarray([sums for _, sums in found if sums is not None], dtype=np.float64)
    ends = intervals(sums.reshape(len(rows), len(tokens)), np.asarray(tokens, dtype=np.float64), kind)
    if name.startswith("perplexity"):
        with np.errstate(over="ignore"):
            ends = (np.exp(ends[0]), np.exp(ends[1]), np.exp(ends[2]))
    for suffix, values in zip(("", "_low", "_high"), ends, strict=True):
        for row, value in zip(rows, values.tolist(), strict=True):
            row[name + suffix] = value if math.isfinite(value) else None


def _typed(rows: list[Row]) -> pd.DataFrame:
    known = columns()
    unrelated = dict.fromkeys(known)
    ordered = itemgetter(*known)
    by_column = (
        zip(*(ordered({**unrelated, **row}) for row in rows), strict=True) if rows else ((),) * len(known)
    )
    data = {
        column.name: series(values, column.dtype)
        for column, values in zip(known.values(), by_column, strict=True)
    }
    frame = pd.DataFrame(data)
    frame.attrs["units"] = {name: column.unit for name, column in known.items() if column.unit}
    frame.attrs["problems"] = []
    return frame


def series(values: Sequence[Any], dtype: str) -> pd.Series[Any]:
    if dtype.startswith("datetime64"):
        times = pd.to_datetime(pd.Series(values, dtype="object"), utc=True, format="ISO8601")
        return times.dt.as_unit("us")
    if dtype == "Int64":
        return pd.Series(numbers(values, dtype))
    if dtype == "category":
        return pd.Series(categorical(values))
    if dtype == "float64":
        return pd.Series(numbers(values, dtype))
    return pd.Series(values, dtype=dtype)


def numbers(values: Sequence[float | None], dtype: str) -> Any:
    """A column of float64 or Int64, rounded to the nearest whole number; None is null."""
    found = np.asarray(values, dtype=np.float64)
    if dtype == "float64":
        return found
    missing_ = np.isnan(found)
    return pd.arrays.IntegerArray(np.where(missing_, 0, np.rint(found)).astype(np.int64), missing_)


def categorical(values: Sequence[str | None]) -> pd.Categorical:
    """Of texts, though all of them be null: pandas would then take them for numbers, and so would Parquet."""
    found = pd.Categorical(list[Any](values))
    if len(found.categories):
        return found
    return pd.Categorical.from_codes(found.codes, categories=pd.Index([], dtype="str"))
