"""Export: what comes back from each format equals the frame, with units, and is written whole."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import duckdb
import pandas as pd
import polars
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

import qbench
from qbench.cli.app import app
from qbench.errors import ResultsError
from qbench.results.frames.dictionary import TABLES as DICTIONARY
from qbench.results.frames.export import export
from qbench.results.frames.frame import from_records
from qbench.results.frames.layer_frame import layers_of
from qbench.results.frames.sample_frame import samples_of
from qbench.results.table.columns import columns
from tests.results import factory
from tests.results.many import many, write_many


@pytest.fixture
def frame() -> pd.DataFrame:
    return from_records([factory.record(), factory.record("absmax"), factory.failed()])


def test_parquet_keeps_types_values_and_units(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = export(frame, tmp_path / "results.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame, check_categorical=False)
    schema = pyarrow.parquet.read_schema(path)
    for name, column in columns().items():
        assert schema.field(name).metadata[b"unit"].decode() == column.unit
        assert schema.field(name).metadata[b"description"].decode() == column.description
    assert json.loads(schema.metadata[b"qbench.units"])["prefill_s"] == "s"


def test_json_is_a_list_of_rows_to_the_last_digit(frame: pd.DataFrame, tmp_path: Path) -> None:
    rows = json.loads(export(frame, tmp_path / "results.json").read_text())
    assert [list(row) for row in rows] == [list(frame.columns)] * 3
    assert rows[0]["perplexity"] == frame["perplexity"].iloc[0]
    assert rows[2]["perplexity"] is None
    assert rows[0]["started_at"] == "2026-11-21T10:56:01.250000Z"
    assert rows[0]["weight_bytes"] == 11_600_000


def test_csv_reads_back_to_the_last_digit(frame: pd.DataFrame, tmp_path: Path) -> None:
    with export(frame, tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["perplexity"]) == frame["perplexity"].iloc[0]
    assert rows[2]["perplexity"] == ""
    assert rows[2]["reason"] == "ValueError: group_size 7"


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json"])
def test_an_empty_frame_exports(suffix: str, tmp_path: Path) -> None:
    assert export(from_records([]), tmp_path / f"results.{suffix}").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [("results.parqet", "did you mean '.parquet'"), ("results", "choose from"), ("no/a.csv", "no folder")],
)
def test_a_wrong_target_is_refused(frame: pd.DataFrame, tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ResultsError, match=words):
        export(frame, tmp_path / name)


TABLES = {
    "cells": from_records([factory.record(), factory.record("absmax"), factory.failed()]),
    "samples": samples_of([*many(14, corners=2), factory.failed()]),
    "layers": layers_of(many(14)),
}


def plain(frame: pd.DataFrame) -> dict[str, list[object]]:
    """Column → Python values, nulls as None, times as UTC datetimes."""
    found = {}
    for name in frame.columns:
        values = frame[name].astype("object")
        found[name] = [
            None if pd.isna(one) else getattr(one, "to_pydatetime", lambda one=one: one)() for one in values
        ]
    return found


@pytest.mark.parametrize("name", TABLES)
def test_units_and_descriptions_stand_in_the_fields_of_every_table(name: str, tmp_path: Path) -> None:
    path = export(TABLES[name], tmp_path / "table.parquet")
    schema = pyarrow.parquet.read_schema(path)
    known = DICTIONARY[name][2]
    assert schema.names == list(known)
    for column in known.values():
        metadata = schema.field(column.name).metadata
        assert metadata[b"unit"].decode() == column.unit
        assert metadata[b"description"].decode() == column.description
    units = json.loads(schema.metadata[b"qbench.units"])
    assert units == {column.name: column.unit for column in known.values() if column.unit}
    assert units == TABLES[name].attrs["units"]


@pytest.mark.parametrize("name", TABLES)
def test_duckdb_reads_every_value_null_and_type(name: str, tmp_path: Path) -> None:
    path, frame = export(TABLES[name], tmp_path / "table.parquet"), TABLES[name]
    with duckdb.connect() as database:
        database.execute("set timezone = 'UTC'")
        found = database.sql(f"from '{path}'")
        assert found.columns == list(frame.columns)
        types = {str(kind): str(found.types[place]) for place, kind in enumerate(frame.dtypes)}
        rows = found.fetchall()
    expected = {"string": "VARCHAR", "category": "VARCHAR", "Int64": "BIGINT", "float64": "DOUBLE",
                "datetime64[us, UTC]": "TIMESTAMP WITH TIME ZONE"}  # fmt: skip
    assert types.items() <= expected.items()
    values = {column: [row[place] for row in rows] for place, column in enumerate(frame.columns)}
    assert values == plain(frame)


@pytest.mark.parametrize("name", TABLES)
def test_polars_reads_every_value_null_and_type(name: str, tmp_path: Path) -> None:
    path, frame = export(TABLES[name], tmp_path / "table.parquet"), TABLES[name]
    found = polars.read_parquet(path)
    expected = {"string": polars.String, "Int64": polars.Int64, "float64": polars.Float64,
                "datetime64[us, UTC]": polars.Datetime("us", "UTC")}  # fmt: skip
    for column, kind in frame.dtypes.items():
        theirs = found.schema[str(column)]
        if str(kind) == "category":
            assert theirs in (polars.String, polars.Categorical), column
        else:
            assert theirs == expected[str(kind)], column
    assert found.to_dict(as_series=False) == plain(frame)


def test_the_command_writes_each_table(tmp_path: Path) -> None:
    results = write_many(tmp_path / "results", 12, layers=2)
    counts = {}
    for name in TABLES:
        path = tmp_path / f"{name}.parquet"
        done = CliRunner().invoke(app, ["export", str(results), "-o", str(path), "--table", name])
        assert done.exit_code == 0, done.output
        counts[name] = pyarrow.parquet.read_metadata(path).num_rows
    assert (counts["cells"], counts["layers"]) == (12, 4)
    assert counts["samples"] == len(qbench.samples(results))
