"""`qbench.samples` and `qbench.layers` against the records' own JSON, walked by hand."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import qbench
from qbench.errors import ResultsError
from qbench.results.frames.dictionary import TABLES, page
from qbench.results.frames.frame import from_records
from qbench.results.frames.layer_frame import LAYER_COLUMNS, layers_of
from qbench.results.frames.sample_frame import SAMPLE_COLUMNS, quantities, samples_of
from qbench.results.store.record import Record
from qbench.results.table.columns import columns
from tests.probes.energy.test_energy_metrics import sample, window
from tests.results import factory
from tests.results.many import many, write_many

TASKS = {
    "unit": "nat",
    "tasks": [
        {
            "name": "quiz",
            "documents": 3,
            "documents_sha256": "d0",
            "results": {"acc,none": {"value": 2 / 3, "stderr": 0.3, "higher_is_better": True}},
            "items": {"acc,none": [1.0, 0.0, 1.0], "f1,none": [[1.0, 0.5], [0.0, 0.25], [1.0, 1.0]]},
            "log_likelihoods": [[-1.5, -2.5], [-0.5, None], [-3.0, -4.0]],
        }
    ],
    "groups": [],
    "entries": {"quiz": ["quiz"]},
}


def whole() -> Record:
    """Every probe gave something."""
    timed = next(iter(many(11, corners=2))).samples
    samples = {
        **timed,
        "energy": sample(window(1500.0), window(1600.0)),
        "tasks": TASKS,
        "memory": factory.memory(),
    }
    return factory.record("absmax", samples=samples)


def numbers(value: Any) -> Iterator[float]:
    """Every number below a JSON value."""
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield float(value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from numbers(inner)


def picked(frame: pd.DataFrame, quantity: str, **where: Any) -> pd.DataFrame:
    found = frame[frame["quantity"] == quantity]
    for name, value in where.items():
        found = found[found[name] == value]
    return found


def test_the_columns_are_documented_and_their_dtypes_do_not_depend_on_the_records() -> None:
    for make, known in ((samples_of, SAMPLE_COLUMNS), (layers_of, LAYER_COLUMNS)):
        for records in ([], [factory.failed()], [factory.record()], [whole(), factory.record("gptq")]):
            frame = make(records)
            found = {name: str(kind) for name, kind in frame.dtypes.items()}
            assert found == {name: column.dtype for name, column in known.items()}
        assert all(column.description for column in known.values())
    assert samples_of([]).attrs["units"] == {"at_s": "s"}
    assert layers_of([]).attrs["units"]["codes_bytes"] == "B"


def test_the_page_of_columns_is_the_one_that_the_code_gives() -> None:
    path = Path(__file__).resolve().parents[3] / "docs" / "columns.md"
    command = "python -m qbench.results.frames.dictionary > docs/columns.md"
    assert path.read_text() == page(), f"rewrite it with `{command}`"
    assert TABLES["cells"][2] == columns()
    for _, _, known in TABLES.values():
        for column in known.values():
            assert f"| `{column.name}` | {column.unit} | {column.dtype} | {column.description} |" in page()


def test_no_raw_number_is_lost_and_none_is_added() -> None:
    """As multisets of numbers: what the record holds of each probe, less what is known to be no sample."""
    record = whole()
    frame = samples_of([record])
    taken = {
        name: Counter(frame[frame["probe"] == name]["value"].dropna()) for name in frame["probe"].unique()
    }

    found = record.samples["perplexity"]
    kept = {name: value for name, value in found.items() if name in ("nll", "elapsed_s")}
    apart = {name: value for name, value in found["divergence"].items() if name != "scored"}
    assert taken["perplexity"] == Counter(numbers([kept, apart]))

    seconds = []
    for run in record.samples["latency"]["runs"]:
        outside = {name: value for name, value in run["outside"].items() if name not in ("layers", "timer_s")}
        seconds += [run["prefill_s"], run["decode_s"], run["warmup"]["round_s"], outside]
    assert taken["latency"] == Counter(numbers(seconds))

    memory = {name: value for name, value in record.samples["memory"].items() if name.endswith("_bytes")}
    assert taken["memory"] == Counter(numbers(memory))
    task = TASKS["tasks"][0]  # type: ignore[index]
    assert taken["tasks"] == Counter(numbers([task["items"], task["log_likelihoods"]]))  # type: ignore[index]
    assert taken["phases"] == Counter(numbers(record.phases))

    energy = record.samples["energy"]
    windows = [energy["prefill"], energy["decode"], *energy["idle"].values()]
    for name in ("work_s", "gross_j", "window_s", "power_w", "end_w", "sampling_s", "throttle"):
        stored = Counter(numbers([window.get(name) for window in windows]))
        assert Counter(picked(frame, name)["value"]) == stored, name
    ticks = [one["ticks"] for one in (energy["prefill"], energy["decode"])]
    ticks.append([window["ticks"] for window in energy["idle"].values()])
    joules = [tick[2] for part in ticks for series in part for tick in series]
    joules += [tick[2] for tick in energy.get("calibration") or []]
    assert Counter(picked(frame, "tick_j")["value"]) == Counter(joules)


def test_each_number_stands_at_its_place() -> None:
    record = whole()
    frame = samples_of([record])
    nll = picked(frame, "nll")
    assert nll["value"].tolist() == record.samples["perplexity"]["nll"]
    assert nll["index"].tolist() == list(range(40))
    assert nll["tokens"].tolist() == [511] * 40
    assert set(nll["unit"]) == {"nat"}
    for run in record.samples["latency"]["runs"]:
        for place, steps in enumerate(run["decode_s"]):
            rows = picked(frame, "decode_s", batch_size=run["batch_size"], index=place)
            assert rows["value"].tolist() == steps
            assert rows["step"].tolist() == list(range(1, len(steps) + 1))
            assert set(rows["lap"]) == {run["lap"][place]}
            assert set(rows["at_s"]) == {run["start_s"][place]}
        warm = picked(frame, "warmup_s", batch_size=run["batch_size"])
        assert warm["value"].tolist() == run["warmup"]["round_s"]
        assert warm["lap"].isna().all()
    choices = picked(frame, "log_likelihood")
    assert list(zip(choices["index"], choices["step"], strict=True)) == [
        (document, choice) for document in range(3) for choice in range(2)
    ]
    assert choices["value"].isna().tolist() == [False, False, False, True, False, False]
    assert set(choices["item"]) == {"quiz"}
    cell = record.cell
    assert (frame["cell_id"] == cell.id).all()
    assert set(frame["label"]) == {cell.label}


def test_every_quantity_is_in_the_list_of_quantities() -> None:
    frame = samples_of([whole()])
    for probe, quantity in set(zip(frame["probe"], frame["quantity"], strict=True)):
        patterns = [name for where, name in quantities() if where == probe]
        fits = [
            name == quantity
            or (name.startswith("…") and quantity.endswith(name[1:]))
            or (name.endswith("…") and quantity.startswith(name[:-1]))
            or (probe == "phases" or (name == "metric,filter" and "," in quantity))
            for name in patterns
        ]
        assert any(fits), (probe, quantity)


def test_perplexity_comes_again_from_the_samples() -> None:
    records = list(many(14))
    nll = picked(samples_of(records), "nll").groupby("cell_id", observed=True)
    mine = (nll["value"].sum() / nll["tokens"].sum()).map(math.exp)
    theirs = from_records(records).set_index("cell_id")["perplexity"].dropna()
    assert len(theirs) == 13
    assert mine.to_dict() == pytest.approx(theirs.to_dict(), rel=1e-12)


def test_a_layer_is_a_row_with_what_the_record_says_of_it() -> None:
    records = list(many(14, layers=5))
    frame = layers_of([factory.record(), *records])
    stored = [(record.cell.id, layer) for record in records for layer in record.layers]
    assert len(frame) == len(stored) == 15
    for (cell_id, layer), (_, row) in zip(stored, frame.iterrows(), strict=True):
        assert row["cell_id"] == cell_id
        for name in (
            "name",
            "kind",
            "num_bits",
            "group_size",
            "bits_per_weight",
            "weight_error",
            "requested",
        ):
            assert row[name] == layer[name]
        assert [row["rows"], row["cols"]] == layer["shape"]
        assert {name: row[f"{name}_bytes"] for name in layer["bytes"]} == layer["bytes"]
        assert json.loads(row["executed"]) == layer["executed"]
        assert json.loads(row["params"]) == layer["params"]
        assert row["kernels"] == "packed_native, expand_gemm"
        assert pd.isna(row["fallback_reason"])


def test_folders_are_read_as_load_reads_them(tmp_path: Path) -> None:
    folder = write_many(tmp_path, 12, layers=2)
    for read, table in ((qbench.samples, "samples"), (qbench.layers, "layers")):
        whole_tree, run = read(tmp_path), read(folder)
        pd.testing.assert_frame_equal(whole_tree, run)
        assert list(run.columns) == list(TABLES[table][2])
    assert len(qbench.layers(tmp_path)) == 4
    (folder / "0123456789abcdef.json").write_text('{"schema": 1')
    for read in (qbench.samples, qbench.layers):
        with pytest.raises(ResultsError, match="is no whole JSON file"):
            read(tmp_path)
        assert "0123456789abcdef.json" in read(tmp_path, strict=False).attrs["problems"][0]
        with pytest.raises(ResultsError, match="no results folder"):
            read(tmp_path / "nothing")
