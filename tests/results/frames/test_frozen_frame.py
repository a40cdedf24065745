"""The committed example reads to the numbers of November 2026.

`frozen_cells.json` holds the table of cells, value by value; `frozen_samples.json` and `frozen_layers.json`
hold sums and hashes of the columns of the two long tables. All were written by the code of before the
modules moved to where they stand now. A column may be added; no number, unit or name of then may change.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import qbench

HERE = Path(__file__).parent
TOUR = HERE.parents[2] / "results/examples/tour"
EXACT = 1e-12
"""Relative; sums are taken in another order where libraries change."""
BY_STUDENT = {
    f"{name}_{end}": 5e-4
    for name in ("perplexity", "perplexity_ratio", "kl_divergence", "top1_agreement")
    for end in ("low", "high")
}
"""Ends of bootstrap intervals, relative: their width has a quantile of Student's t, which was an expansion
within 0.2 % (up to 24 % below three degrees of freedom) and is exact where scipy computes it. On this example
the ends move by at most 1.7e-4."""


def frozen(name: str) -> dict[str, Any]:
    found = json.loads((HERE / f"frozen_{name}.json").read_text())
    assert isinstance(found, dict)
    return found


def values(column: pd.Series) -> list[Any]:
    """A column as JSON has it: numbers, texts, nulls."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype("object")
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column.map(lambda time: time.isoformat(), na_action="ignore").astype("object")
    return [None if pd.isna(value) else value for value in column.tolist()]


def missing_names(column: list[Any]) -> list[Any]:
    """Of the reasons the columns that have one: their wording is prose."""
    return [sorted(json.loads(text)) if isinstance(text, str) else None for text in column]


def summary(column: pd.Series) -> dict[str, Any]:
    """What a long column comes to: nulls, and sums by value and by place, or a hash of the texts."""
    found = values(column)
    numbers = [value for value in found if isinstance(value, int | float)]
    if len(numbers) < len(found) - found.count(None):
        return {"sha256": hashlib.sha256(json.dumps(found).encode()).hexdigest()}
    places = [place for place, value in enumerate(found) if value is not None]
    return {
        "nulls": found.count(None),
        "sum": math.fsum(numbers),
        "by_place": math.fsum(place * value for place, value in zip(places, numbers, strict=True)),
        "ends": [min(numbers), max(numbers)] if numbers else [],
    }


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    return qbench.load(TOUR)


def test_every_value_of_the_cells_is_that_of_then(cells: pd.DataFrame) -> None:
    for name, then in frozen("cells")["columns"].items():
        now = values(cells[name])
        if name == "missing":
            known = set(frozen("cells")["columns"])
            assert [
                None if one is None else [n for n in one if n in known] for one in missing_names(now)
            ] == then
        elif any(isinstance(value, float) for value in then):
            relative = BY_STUDENT.get(name, EXACT)
            close = [None if value is None else pytest.approx(value, rel=relative, abs=0.0) for value in then]
            assert now == close, name
        else:
            assert now == then, name


def test_columns_have_the_types_and_units_of_then(cells: pd.DataFrame) -> None:
    then = frozen("cells")
    assert {name: str(cells[name].dtype) for name in then["types"]} == then["types"]
    assert {name: cells.attrs["units"].get(name) for name in then["units"]} == then["units"]


@pytest.mark.parametrize("name", ["samples", "layers"])
def test_the_long_tables_come_to_the_sums_of_then(name: str) -> None:
    frame = {"samples": qbench.samples, "layers": qbench.layers}[name](TOUR)
    then = frozen(name)
    assert len(frame) == then["rows"]
    for column, wanted in then["columns"].items():
        found = summary(frame[column])
        assert found.keys() == wanted.keys(), column
        for key, value in wanted.items():
            expected = value if isinstance(value, str) else pytest.approx(value, rel=EXACT, abs=0.0)
            assert found[key] == expected, (column, key)
    assert {column: frame.attrs["units"].get(column) for column in then["units"]} == then["units"]
