"""No number of an ok row is null without a reason that says something."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from qbench.cell import ModelRef
from qbench.results.frames.frame import from_records
from qbench.results.store.record import Record
from qbench.results.table.columns import columns
from tests.probes.latency.test_latency_metrics import CEILINGS, OUTSIDE, WORK
from tests.results import factory

NUMBERS = [name for name, column in columns().items() if column.dtype in ("float64", "Int64")]
IDLE = {"decode": {"tokens": 50, "gross_j": [1.0], "idle_w": 1.0, "window_s": [5.0]}}


def cell(method: str = "absmax", *, cell_changes: dict[str, Any] | None = None, **samples: Any) -> Record:
    return factory.record(method, cell_changes=cell_changes, samples=factory.samples(**samples))


def without(*names: str, method: str = "absmax") -> Record:
    kept = {name: found for name, found in factory.samples().items() if name not in names}
    return factory.record(method, samples=kept)


def compiled() -> Record:
    run = factory.latency()["runs"][0]
    check = {"max_abs_diff": 0.0, "tokens_differ": 0, "noise": 0.0}
    facts = {"mode": "default", "prefill_s": [1.0], "decode_s": [1.0], "check": check}
    latency = {"unit": "s", "runs": [{**run, "compile": facts, "work": WORK, "outside": OUTSIDE}]}
    cause = "a compiled graph keeps what it needs"
    memory = factory.memory(
        kv_cache_bytes=None,
        workload={"prompt_length": 8, "batch_size": 1, "generated_tokens": 4},
        reasons={"kv_cache_bytes": cause, "quantize_peak_bytes": "nothing was quantized"},
    )
    return cell(cell_changes={"runtime": "compile"}, latency=latency, memory=memory)


def one_token() -> dict[str, Any]:
    return {**factory.latency(decode_s=[[]] * 3)}


def tasks(stderr: float | None) -> dict[str, Any]:
    one = {"name": "t", "documents": 9, "results": {"acc,none": {"value": 0.5, "stderr": stderr}}}
    return {"tasks": [one], "entries": {"t": ["t"]}}


BROKEN = {"unit": "nat", "value": None, "reason": "text too short"}
RECORDS: dict[str, list[Record]] = {
    "a base alone": [factory.record()],
    "a pair": [cell(), factory.record()],
    "no base": [cell()],
    "a checkpoint without base": [cell("saved")],
    "another model's base": [
        cell(),
        factory.record(cell_changes={"model": ModelRef("austen-6m", "builtin:austen-6m", "sha256:other")}),
    ],
    "quality off": [without("perplexity"), factory.record()],
    "latency off": [without("latency"), factory.record()],
    "memory off": [without("memory"), factory.record()],
    "energy off": [without("energy"), factory.record()],
    "everything off": [without("perplexity", "latency", "memory", "energy"), factory.record()],
    "the base's quality off": [cell(), without("perplexity", method="none")],
    "the base's latency off": [cell(), without("latency", method="none")],
    "the base's memory off": [cell(), without("memory", method="none")],
    "a failed base": [cell(), factory.failed("none")],
    "quality had a reason": [cell(perplexity=BROKEN), factory.record()],
    "one window": [cell(perplexity=factory.perplexity([1000.0])), factory.record()],
    "other windows": [cell(perplexity=factory.perplexity(protocol="strided")), factory.record()],
    "not finite": [cell(perplexity=factory.perplexity([1000.0, None])), factory.record()],
    "infinite": [cell(perplexity=factory.perplexity([1000.0, float("inf")])), factory.record()],
    "hopeless": [cell(perplexity=factory.perplexity([511 * 900.0] * 8, words=9, bytes=9)), factory.record()],
    "an end too large": [
        cell(perplexity=factory.perplexity([511 * (690.0 + 4 * place) for place in range(8)])),
        factory.record(),
    ],
    "compiled": [compiled(), factory.record(cell_changes={"runtime": "compile"})],
    "one generated token": [cell(latency=one_token()), cell("none", latency=one_token())],
    "no rounds": [cell(latency={"unit": "s", "runs": []}), factory.record()],
    "one trial of energy": [cell(energy={"unit": "J", "source": "rapl", **IDLE}), factory.record()],
    "energy without windows": [cell(energy={"unit": "J", "source": "rapl"}), factory.record()],
    "tasks": [cell(tasks=tasks(0.1)), factory.record()],
    "a task without error": [cell(tasks=tasks(None)), factory.record()],
    "tasks without accuracy": [cell(tasks={**tasks(None), "entries": {}}), factory.record()],
    "no layers": [factory.record("absmax", layers=[], phases={}), factory.record()],
    "nothing at all": [factory.record("absmax", samples={}, layers=[], phases={})],
    "no weights": [cell(memory=factory.memory(0)), factory.record()],
    "ceilings": [
        factory.record(environment={"ceilings": CEILINGS}),
        factory.record("absmax", environment={"ceilings": CEILINGS}),
    ],
}


@pytest.mark.parametrize("records", RECORDS.values(), ids=RECORDS)
def test_every_null_number_of_an_ok_row_has_a_reason(records: list[Record]) -> None:
    frame = from_records(records)
    for row in frame.to_dict("records"):
        if row["status"] != "ok":
            assert row["missing"] == "{}"
            continue
        missing = json.loads(row["missing"])
        null = {name for name in NUMBERS if pd.isna(row[name])}
        assert null - set(missing) == set()
        assert {name for name in missing if name in NUMBERS} <= null
        vague = {name: missing[name] for name in null if not missing[name] or missing[name] == "not recorded"}
        assert vague == {}


@pytest.mark.parametrize(
    ("records", "name", "reason"),
    [
        ("quality off", "perplexity_low", "perplexity was not asked for"),
        ("quality off", "perplexity_ratio_low", "perplexity was not asked for"),
        ("quality off", "kl_divergence_high", "perplexity was not asked for"),
        ("latency off", "decode_speedup", "latency was not asked for"),
        ("latency off", "prefill_speedup_low", "latency was not asked for"),
        ("the base's latency off", "decode_speedup_high", "the base has no decode_s_per_token"),
        ("the base's memory off", "weight_bytes_ratio", "the base has no weight_bytes"),
        ("memory off", "weight_bytes_ratio", "memory was not asked for"),
        ("no base", "weight_bytes_ratio", "no ok `none` cell of the same run"),
        ("no base", "decode_speedup_low", "no ok `none` cell of the same run"),
        ("a pair", "decode_speedup_low", "did not take turns"),
        ("one window", "perplexity_low", "one window"),
        ("other windows", "perplexity_ratio_high", "the base was scored on other windows"),
        ("not finite", "perplexity_ratio", "not finite"),
        ("infinite", "perplexity_low", "not finite"),
        ("hopeless", "perplexity", "too large for a number"),
        ("hopeless", "word_perplexity", "too large for a number"),
        ("compiled", "kv_cache_bytes_per_token", "a compiled graph"),
        ("one generated token", "decode_speedup", "two generated tokens"),
        ("energy without windows", "energy_trials", "two generated tokens"),
        ("one trial of energy", "energy_other_processes", "the source does not tell"),
        ("a pair", "energy_trials", "no_driver"),
        ("tasks", "perplexity_ratio_low", ""),
        ("a task without error", "task_accuracy_stderr", "a task gives no standard error"),
        ("quality off", "task_accuracy_stderr", "tasks was not asked for"),
    ],
)
def test_the_reason_is_the_true_one(records: str, name: str, reason: str) -> None:
    row = from_records(RECORDS[records]).to_dict("records")[0]
    missing = json.loads(row["missing"])
    assert reason in missing[name] if reason else name not in missing
