"""`samples`: every raw sample as one tidy pandas DataFrame in long form, a row per number.

    frame = qbench.samples("results/")
    nll = frame[frame["quantity"] == "nll"].pivot(index="index", columns="label", values="value")

Texts are categories, so that the hundreds of rows of a cell cost little more than their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qbench.json_object import JsonObject
from qbench.probes.registry import probes
from qbench.results.columns.column import Column
from qbench.results.columns.raw_series import RawSeries
from qbench.results.frames.typed import categorical, numbers, read_frame
from qbench.results.store.record import Record
from qbench.results.table.columns import IDENTITY, identity

_TEXTS = ("probe", "quantity", "item", "unit")
_OF_A_SERIES = ("prompt_length", "batch_size")
_OF_A_VALUE = ("index", "step", "lap", "at_s", "tokens")

SAMPLE_COLUMNS = {
    column.name: column
    for column in (
        *IDENTITY,
        Column("probe", "", "perplexity, memory, latency, energy, tasks, or phases", "category"),
        Column("quantity", "", "what was measured; see the list below", "category"),
        Column("item", "", "which of several: task, part of the energy, share of a quantile", "category"),
        Column("prompt_length", "", "prompt tokens of what was timed", "Int64"),
        Column("batch_size", "", "sequences of what was timed", "Int64"),
        Column("index", "", "window, round, trial or document, from 0", "Int64"),
        Column("step", "", "within it: decode step (from 1), power sample, tick, choice", "Int64"),
        Column("lap", "", "block that the round belongs to: its rounds are neighbours in time", "Int64"),
        Column("at_s", "s", "start of the round, since the first block; else since the work", "float64"),
        Column("tokens", "", "that the value is of: those scored in a window, say", "Int64"),
        Column("value", "", "the number, in `unit`; null where it was not finite", "float64"),
        Column("unit", "", "nat, s, B, J, W, tokens, …; empty for a count or a share", "category"),
    )
}  # fmt: skip
"""Columns of `samples`, in order."""


def samples(
    path: str | Path = "results/", runs: Literal["newest", "all"] = "newest", *, strict: bool = True
) -> pd.DataFrame:
    """Every raw sample of the newest run of each suite, or of all runs; a row per number.

    `path`, `runs` and `strict` as of `qbench.load`. Columns: `SAMPLE_COLUMNS` and docs/columns.md; the unit
    of `value` stands in its row, that of the other columns in `frame.attrs["units"]`. A cell without samples
    (a failed one) has no row; what was left out is named in `frame.attrs["problems"]`.
    """
    return read_frame(path, runs, strict, samples_of)


def samples_of(records: Iterable[Record]) -> pd.DataFrame:
    """Raw samples of these records, in their order. Each is let go as soon as its numbers are taken."""
    identities, owners, series = list[JsonObject](), list[int](), list[RawSeries]()
    for number, record in enumerate(records):
        identities.append(identity(record))
        found = [one for one in raw_series(record) if one.values]
        series += found
        owners += [number] * len(found)
    return _framed(identities, np.asarray(owners, dtype=np.int64), series)


def _framed(identities: list[JsonObject], owners: NDArray[np.int64], series: list[RawSeries]) -> pd.DataFrame:
    sizes = np.fromiter((len(one.values) for one in series), np.int64, len(series))
    data: JsonObject = {}
    for column in IDENTITY:
        values = [one[column.name] for one in identities]
        data[column.name] = _repeated(values, column.dtype, owners.repeat(sizes))
    places = np.arange(len(series)).repeat(sizes)
    for name in _TEXTS:
        data[name] = _repeated([getattr(one, name) for one in series], "category", places)
    for name in _OF_A_SERIES:
        data[name] = _repeated([getattr(one, name) for one in series], "Int64", places)
    for name in _OF_A_VALUE:
        lists = (_listed(getattr(one, name), size) for one, size in zip(series, sizes, strict=True))
        data[name] = numbers(list(chain.from_iterable(lists)), SAMPLE_COLUMNS[name].dtype)
    data["value"] = numbers(list(chain.from_iterable(one.values for one in series)), "float64")
    frame = pd.DataFrame({name: data[name] for name in SAMPLE_COLUMNS})
    frame.attrs["units"] = {name: column.unit for name, column in SAMPLE_COLUMNS.items() if column.unit}
    frame.attrs["problems"] = []
    return frame


def _repeated(values: Sequence[Any], dtype: str, places: NDArray[np.int64]) -> Any:
    """`values[places]` as a column; texts by their codes, so that no text is copied."""
    if dtype != "category":
        return pd.array(values, dtype="Int64").take(places)
    known = categorical(values)
    return pd.Categorical.from_codes(known.codes.take(places), dtype=known.dtype)


def _listed(values: Sequence[Any] | None, size: int) -> Sequence[Any]:
    return [None] * size if values is None else values


def raw_series(record: Record) -> Iterator[RawSeries]:
    """Every raw number of the record's samples and phases, in the order of the probes."""
    for probe in probes().values():
        if probe.name in record.samples:
            yield from probe.series(record)
    for name, seconds in record.phases.items():
        yield RawSeries("phases", name, "s", [seconds])


def quantities() -> dict[tuple[str, str], str]:
    """(probe, quantity) → meaning."""
    found = {
        (probe.name, name): meaning
        for probe in probes().values()
        for name, meaning in probe.quantities.items()
    }
    return {**found, ("phases", "start, load, …"): "seconds of a phase of the worker"}
