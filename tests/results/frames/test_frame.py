"""The frame: types, bases, paired ratios, reasons; and that reading needs no torch."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qbench
from qbench.cell import ModelRef
from qbench.errors import ResultsError
from qbench.results.frames.frame import from_records, load
from qbench.results.stats.bootstrap import intervals
from qbench.results.table.columns import columns
from tests.results import factory

BASE_NLL = factory.LOSSES
CELL_NLL = [nll + 511 * math.log(1.02) + (-1) ** place for place, nll in enumerate(BASE_NLL)]
NAMED_IN_THE_ISSUE = """
    suite run cell_id status reason model method label params dtype device bits_per_weight perplexity
    perplexity_protocol weight_bytes peak_memory_bytes quantize_s prefill_s decode_s_per_token
    energy_j_per_token
"""


def quantized(**changes: object) -> qbench.Record:
    samples = factory.samples(perplexity=factory.perplexity(CELL_NLL), memory=factory.memory(5_800_000))
    return factory.record("absmax", **{"samples": samples, **changes})


def test_columns_are_documented_and_in_order() -> None:
    frame = from_records([factory.record(), quantized(), factory.failed()])
    assert list(frame.columns) == list(columns())
    assert set(NAMED_IN_THE_ISSUE.split()) <= set(frame.columns)
    assert all(column.description for column in columns().values())
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        name: column.dtype for name, column in columns().items()
    }
    assert frame.attrs["units"]["weight_bytes"] == "B"


def test_dtypes_do_not_depend_on_what_was_measured() -> None:
    for records in ([], [factory.failed()], [factory.record()]):
        frame = from_records(records)
        assert [str(kind) for kind in frame.dtypes] == [column.dtype for column in columns().values()]


def test_a_failed_cell_is_a_row_with_its_reason_and_nulls() -> None:
    row = from_records([factory.failed("gptq", "oom", "killed at 4 GB")]).iloc[0]
    assert (row["status"], row["reason"], row["method"]) == ("oom", "killed at 4 GB", "gptq")
    assert row[["perplexity", "weight_bytes", "prefill_s", "bits_per_weight"]].isna().all()


def test_ratios_relate_to_the_base_and_are_paired() -> None:
    frame = from_records([quantized(), factory.record()])
    row = frame.iloc[0]
    base = frame.iloc[1]
    gaps = np.subtract(CELL_NLL, BASE_NLL)[None]
    expected = [math.exp(end[0]) for end in intervals(gaps, np.full(factory.WINDOWS, 511.0), "difference")]
    names = ["perplexity_ratio", "perplexity_ratio_low", "perplexity_ratio_high"]
    assert row[names].tolist() == pytest.approx(expected, rel=1e-12)
    assert row["perplexity_ratio"] == pytest.approx(row["perplexity"] / base["perplexity"], rel=1e-12)
    assert row["perplexity_low"] < row["perplexity"] < row["perplexity_high"]
    assert row["weight_bytes_ratio"] == pytest.approx(0.5)
    assert row["decode_speedup"] == pytest.approx(1.0)
    assert row["base_cell_id"] == base["cell_id"]
    assert base[names].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "stranger",
    [
        factory.record(run="20270101T000000Z-000000"),
        factory.record(cell_changes={"dtype": "fp32"}),
        factory.record(cell_changes={"device": "cuda:0"}),
        factory.record(cell_changes={"model": ModelRef("austen-6m", "builtin:austen-6m", "sha256:other")}),
        factory.record(status="failed", reason="x"),
    ],
)
def test_no_ratio_to_a_stranger(stranger: qbench.Record) -> None:
    row = from_records([quantized(), stranger]).iloc[0]
    assert pd.isna(row["perplexity_ratio"])
    assert pd.isna(row["weight_bytes_ratio"])
    assert "no ok `none` cell" in json.loads(row["missing"])["perplexity_ratio"]


@pytest.mark.parametrize(
    "other",
    [
        factory.perplexity(corpus={"name": "builtin:persuasion", "sha256": "other"}),
        factory.perplexity(protocol="strided"),
        factory.perplexity(seqlen=256),
        factory.perplexity(stride=256),
        factory.perplexity([1.0, 2.0]),
    ],
)
def test_no_perplexity_ratio_over_other_windows(other: dict[str, object]) -> None:
    base = factory.record(samples=factory.samples(perplexity=other))
    row = from_records([quantized(), base]).iloc[0]
    assert pd.isna(row["perplexity_ratio"])
    assert row["weight_bytes_ratio"] == pytest.approx(0.5)  # bytes can be compared all the same
    assert json.loads(row["missing"])["perplexity_ratio"] == "the base was scored on other windows"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"unit": "nat", "value": None, "reason": "text too short"}, "the base was not scored"),
        (factory.perplexity([None, *factory.LOSSES[1:]]), "the base has no finite perplexity"),
    ],
)
def test_no_perplexity_ratio_to_a_base_without_one(other: dict[str, object], said: str) -> None:
    base = factory.record(samples=factory.samples(perplexity=other))
    row = from_records([quantized(), base]).iloc[0]
    assert json.loads(row["missing"])["perplexity_ratio"] == said


def test_the_base_of_the_same_repetition_is_preferred() -> None:
    bases = [factory.record(cell_changes={"repetition": number}) for number in (0, 1)]
    row = from_records([*bases, quantized(cell=factory.cell("absmax", repetition=1))]).iloc[2]
    assert row["base_cell_id"] == bases[1].cell.id


def test_texts_and_times() -> None:
    row = from_records([quantized()]).iloc[0]
    assert json.loads(row["params"]) == {"num_bits": 8, "strategy": "channel"}
    assert row["kernels"] == "int8_packed"
    assert row["perplexity_protocol"] == "gptq, 512 tokens, builtin:persuasion"
    assert row["started_at"] == pd.Timestamp("2026-11-21T10:56:01.25", tz="UTC")
    assert row["energy_reason"] == "no_driver"


OWN = {"name": "test.txt", "sha256": "1f3870be274f6c49b3e31a0c6728957f"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "gptq, 512 tokens, builtin:persuasion"),
        ({"protocol": "strided", "stride": 256}, "strided, 512 tokens, builtin:persuasion, stride 256"),
        ({"protocol": "strided", "stride": None}, "strided, 512 tokens, builtin:persuasion, stride 512"),
        ({"corpus": OWN}, "gptq, 512 tokens, test.txt 1f3870be"),
        ({"corpus": {**OWN, "sha256": "0" * 64}}, "gptq, 512 tokens, test.txt 00000000"),
        (
            {"protocol": "strided", "stride": 64, "corpus": OWN},
            "strided, 512 tokens, test.txt 1f3870be, stride 64",
        ),
    ],
)
def test_two_strides_or_two_texts_of_one_name_are_two_protocols(changes: dict[str, Any], text: str) -> None:
    samples = factory.samples(perplexity=factory.perplexity(**changes))
    assert from_records([factory.record(samples=samples)])["perplexity_protocol"][0] == text


def test_one_window_has_no_interval_and_says_why() -> None:
    row = from_records(
        [factory.record(samples=factory.samples(perplexity=factory.perplexity([1000.0])))]
    ).iloc[0]
    assert row["perplexity"] == pytest.approx(math.exp(1000 / 511))
    assert pd.isna(row["perplexity_low"])
    assert "one window" in json.loads(row["missing"])["perplexity_low"]


def test_a_hopeless_model_is_null_not_infinite() -> None:
    samples = factory.samples(perplexity=factory.perplexity([511 * 900.0] * 4))
    row = from_records([factory.record("absmax", samples=samples)]).iloc[0]
    assert pd.isna(row["perplexity"])
    assert row["nll_per_token"] == pytest.approx(900)


def test_newest_or_all_runs(tmp_path: Path) -> None:
    old, new = "20261121T105600Z-ab12cd", "20261122T000000Z-000000"
    factory.write_run(tmp_path, [factory.record(run=old), quantized(run=old)], run=old)
    factory.write_run(tmp_path, [factory.record(run=new)], run=new)
    assert qbench.load(tmp_path)["run"].tolist() == [new]
    assert sorted(load(tmp_path, runs="all")["run"]) == [old, old, new]
    with pytest.raises(ResultsError, match="did you mean 'newest'"):
        load(tmp_path, runs="newst")  # type: ignore[arg-type]


def test_an_empty_folder_and_a_truncated_file(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no runs in"):
        load(tmp_path)
    folder = factory.write_run(tmp_path, [factory.record()])
    (folder / "0123456789abcdef.json").write_text('{"schema": 1, "cell"')
    with pytest.raises(ResultsError, match=r"0123456789abcdef\.json"):
        load(tmp_path)
    frame = load(tmp_path, strict=False)
    assert len(frame) == 1
    assert "0123456789abcdef.json" in frame.attrs["problems"][0]


def test_reading_and_reporting_import_no_torch() -> None:
    code = (
        "import sys, qbench.results.frames.frame, qbench.results.frames.export\n"
        "import qbench.report.leaderboard.leaderboard, qbench.report.text.terminal\n"
        "sys.exit(', '.join(name for name in ('torch', 'transformers') if name in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
