"""Export: what comes back from each format equals the frame, with units, and is written whole."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet
import pytest

from qbench.errors import ResultsError
from qbench.results.columns import columns
from qbench.results.export import export
from qbench.results.frame import from_records
from tests.results import factory


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
