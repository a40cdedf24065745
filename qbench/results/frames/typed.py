"""Columns as pandas holds them: nullable whole numbers, categories, times in UTC."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qbench.results.columns.column import Column
from qbench.results.store.folders import Store
from qbench.results.store.lookup import WHOLE_END
from qbench.results.store.parallel import uncollected
from qbench.results.store.record import Record


def typed(values: Mapping[str, Any], known: Mapping[str, Column]) -> pd.DataFrame:
    """The frame of these columns, in the order of `known`, with units in `attrs`; what lacks is empty."""
    data = {name: series(values.get(name, ()), column.dtype) for name, column in known.items()}
    frame = pd.DataFrame(data, copy=False)
    frame.attrs["units"] = {name: column.unit for name, column in known.items() if column.unit}
    frame.attrs["problems"] = []
    return frame


def read_frame(
    path: str | Path, runs: str, strict: bool, made: Callable[[Iterator[Record]], pd.DataFrame]
) -> pd.DataFrame:
    """The frame that `made` makes of the store's records; what was left out stands in `attrs["problems"]`."""
    store = Store(Path(path), strict=strict)
    with uncollected():
        frame = made(record for run in store.chosen(runs) for record in store.records(run))
    frame.attrs["problems"] = list(store.problems)
    return frame


def series(values: Sequence[Any], dtype: str) -> pd.Series[Any]:
    if dtype.startswith("datetime64"):
        times = pd.to_datetime(pd.Series(values, dtype="object"), utc=True, format="ISO8601")
        return times.dt.as_unit("us")
    if dtype in ("Int64", "float64"):
        return pd.Series(numbers(values, dtype))
    if dtype == "category":
        return pd.Series(categorical(values))
    return pd.Series(values, dtype=dtype)


def numbers(values: Sequence[float | None], dtype: str) -> Any:
    """A column of float64 or Int64, rounded to the nearest whole number; None and NaN are null, and what is
    too large for a whole number."""
    found = np.asarray(values, dtype=np.float64)
    if dtype == "float64":
        return found
    missing = ~(np.abs(found) < WHOLE_END)
    return pd.arrays.IntegerArray(np.where(missing, 0, np.rint(found)).astype(np.int64), missing)


def categorical(values: Sequence[str | None]) -> pd.Categorical:
    """Categories of text even where all are null, which pandas and Parquet would take for numbers."""
    found = pd.Categorical(list[Any](values))
    if len(found.categories):
        return found
    return pd.Categorical.from_codes(found.codes, categories=pd.Index([], dtype="str"))
