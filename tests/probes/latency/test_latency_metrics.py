"""Latency on reading: intervals with their promised coverage, shares, and every corner in a tidy frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qbench.probes.latency.metrics import latency_runs
from qbench.results.frames.frame import from_records, load
from qbench.results.frames.kernel_table import kernel_rows
from qbench.results.stats.medians import median_interval, quantile, ratio_interval
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS
from tests.results import factory

CEILINGS = {
    "read_bytes_per_s": 50e9,
    "copy_bytes_per_s": 24e9,
    "gemm_flop_per_s": {"bf16": 600e9, "int8": 1200e9, "fp16": None},
    "threads": 2,
    "reasons": {"fp16": "no"},
}
WORK = {
    "decode_weight_bytes": 90_000_000,
    "decode_kv_bytes": 10_000_000.0,
    "prefill_flop": 3_300_000_000,
    "arithmetic": "bf16",
}
OUTSIDE = {
    "layers": 10,
    "timer_s": 1e-5,
    "prefill_s": [0.0101, 0.0201],
    "prefill_inside_s": [0.006, 0.012],
    "decode_s": [[0.0041, 0.0041], [0.0041, 0.0041]],
    "decode_inside_s": [[0.003, 0.001], [0.003, 0.003]],
}


def record(run: dict[str, Any] | None = None, ceilings: Any = CEILINGS, **changes: Any) -> Record:
    latency = factory.latency()
    latency["runs"][0].update({"work": WORK, "outside": OUTSIDE, **(run or {})})
    environment = {"threads": 2, **({} if ceilings is None else {"ceilings": ceilings})}
    return factory.record(samples=factory.samples(latency=latency), environment=environment, **changes)


def value(name: str, one: Record) -> float | None:
    return METRICS[name].value(one)


@pytest.mark.parametrize("n", [6, 7, 9, 12, 31])
def test_the_interval_of_a_median_covers_the_true_one(n: int) -> None:
    """10,000 draws from a skewed distribution with median 1: at least 95 % of the intervals hold it."""
    drawn = np.random.default_rng(n).exponential(1 / np.log(2), size=(10_000, n))
    ends = np.array([median_interval(list(row)) for row in drawn])
    covered = np.mean((ends[:, 0] <= 1) & (ends[:, 1] >= 1))
    assert covered >= 0.945


def test_the_interval_is_no_wider_than_it_must_be() -> None:
    """n = 9: between the 2nd and the 8th lies the median with 0.961; between the 3rd and 7th, with 0.82."""
    assert median_interval(list(range(1, 10))) == (2, 8)
    assert median_interval([3.0, 1.0, 2.0, 6.0, 5.0, 4.0]) == (1.0, 6.0)
    assert median_interval([1.0] * 5) is None
    assert median_interval([]) is None


def test_quantiles_agree_with_numpy() -> None:
    values = list(np.random.default_rng(0).random(37))
    for fraction in (0.0, 0.5, 0.9, 0.99, 1.0):
        assert quantile(sorted(values), fraction) == pytest.approx(np.quantile(values, fraction))


def test_a_slow_moment_that_hit_both_stays_out_of_the_ratios_interval() -> None:
    slow = np.where(np.arange(30) % 3 == 0, 5.0, 1.0) * (1 + np.arange(30) / 1000)
    low, high = ratio_interval(list(2 * slow), list(slow)) or (0.0, 0.0)
    assert (low, high) == (pytest.approx(2.0), pytest.approx(2.0))
    assert ratio_interval([1.0] * 5, [1.0] * 5) is None


def test_shares_are_what_their_definitions_say() -> None:
    one = record()
    # the timer's own 0.1 ms off every forward: 1 − 6/10, 1 − 12/20; 1 − 3/4, 1 − 1/4, 1 − 3/4, 1 − 3/4
    assert value("prefill_outside_share", one) == pytest.approx(0.4)
    assert value("decode_outside_share", one) == pytest.approx(0.25)
    # 100 MB in a median of 5 ms are 20 GB/s of 50; 3.3 GFLOP in 11 ms are 300 GFLOP/s of 600
    assert value("decode_bandwidth_share", one) == pytest.approx(0.4)
    assert value("prefill_flops_share", one) == pytest.approx(0.5)
    assert value("prefill_flops_share", record({"work": {**WORK, "arithmetic": "int8"}})) == pytest.approx(
        0.25
    )


@pytest.mark.parametrize(
    ("name", "one", "reason"),
    [
        ("decode_bandwidth_share", record(ceilings=None), "manifest holds no ceilings"),
        ("decode_bandwidth_share", record(ceilings={"value": None, "reason": "it died"}), "it died"),
        (
            "decode_bandwidth_share",
            record(ceilings={**CEILINGS, "threads": 1}),
            "with 1 threads, the cell ran with 2",
        ),
        ("decode_bandwidth_share", record({"work": {**WORK, "reason": "experts"}}), "experts"),
        ("decode_bandwidth_share", record({"decode_s": [[], []]}), "fewer than two generated tokens"),
        ("decode_bandwidth_share", factory.record(), "does not tell what a forward pass reads"),
        ("prefill_flops_share", record({"work": {**WORK, "arithmetic": "fp16"}}), "no such ceiling"),
        ("decode_outside_share", record({"outside": {"value": None, "reason": "a graph"}}), "a graph"),
        ("prefill_s_low", record(), "fewer than 6 repetitions"),
        ("compile_s", record(), "eager mode compiles nothing"),
    ],
)
def test_a_missing_share_has_its_reason(name: str, one: Record, reason: str) -> None:
    assert value(name, one) is None
    assert reason in METRICS[name].reason(one)
    (row,) = from_records([one]).to_dict("records")
    assert reason in json.loads(row["missing"])[name]


def test_what_compiling_took_stands_apart() -> None:
    check = {"max_abs_diff": 0.125, "tokens_differ": 1, "noise": 0.0}
    found = {"mode": "default", "prefill_s": [20.0, 1.0], "decode_s": [10.0], "check": check}
    one = record({"compile": found}, cell_changes={"runtime": "compile"})
    assert value("compile_s", one) == 31.0
    assert value("compile_logit_diff", one) == 0.125
    assert value("compile_tokens_differ", one) == 1
    assert value("prefill_s", one) == value("prefill_s", record())


def test_a_compiled_cell_is_related_to_the_compiled_base_alone() -> None:
    slow, fast = [[0.008] * 3] * 3, [[0.004] * 3] * 3
    cells = [
        record({"decode_s": times}, method=method, cell_changes={"runtime": runtime})
        for runtime, method, times in (
            ("eager", "none", slow),
            ("compile", "none", fast),
            ("compile", "absmax", fast),
        )
    ]
    frame = from_records(cells)
    assert list(frame["runtime"]) == ["eager", "compile", "compile"]
    assert list(frame["decode_speedup"]) == [1.0, 1.0, 1.0]
    (alone,) = from_records([cells[2]]).to_dict("records")
    assert "runtime" in json.loads(alone["missing"])["perplexity_ratio"]


def test_every_corner_is_reached_and_the_table_shows_the_first() -> None:
    latency = factory.latency()
    runs = [{**latency["runs"][0], "prompt_length": p, "batch_size": b} for p in (64, 128) for b in (1, 4)]
    one = factory.record(samples=factory.samples(latency={"unit": "s", "runs": runs}))
    frame = pd.DataFrame(latency_runs([one, factory.failed(), factory.record(samples={})]))
    assert list(zip(frame["prompt_length"], frame["batch_size"], strict=True)) == [
        (64, 1),
        (64, 4),
        (128, 1),
        (128, 4),
    ]
    assert set(frame["cell_id"]) == {one.cell.id}
    (row,) = from_records([one]).to_dict("records")
    shared = [name for name in frame.columns if METRICS.get(name) and pd.notna(row[name])]
    assert {"prefill_s", "decode_step_p90_s", "warmup_stable", "warmup_cv"} <= set(shared)
    assert [frame[name][0] for name in shared] == pytest.approx([row[name] for name in shared])
    assert frame["decode_tokens_per_s"][1] == pytest.approx(4 * frame["decode_tokens_per_s"][0])


def test_the_manifests_ceilings_reach_the_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(factory.MANIFEST, "ceilings", {"cpu": CEILINGS})
    factory.write_run(tmp_path, [record(ceilings=None)])
    assert load(tmp_path)["decode_bandwidth_share"][0] == pytest.approx(0.4)


def test_kernel_rows_relate_to_the_float_layer_of_the_same_shape_and_rows() -> None:
    case = {
        "shape": [100, 50],
        "rows": 2,
        "arithmetic": "bf16",
        "kernel": "auto",
        "ran": "k",
        "rotated_bytes": 10.0,
    }
    cases = [
        {**case, "method": "F.linear", "weight_bytes": 1000.0, "samples": [2e-6] * 7},
        {**case, "method": "q", "weight_bytes": 250.0, "samples": [1e-6] * 7},
        {**case, "rows": 4, "method": "F.linear", "weight_bytes": 1000.0, "samples": [9e-6] * 3},
    ]
    first, second, third = kernel_rows({"cases": cases, "ceilings": CEILINGS, "last_cache_bytes": 5})
    assert (first["speedup"], second["speedup"], third["speedup"]) == (1.0, 2.0, 1.0)
    assert (second["speedup_low"], second["speedup_high"]) == (2.0, 2.0)
    assert third["low_s"] is third["speedup_low"] is None
    assert second["bandwidth_share"] == pytest.approx(250 / 1e-6 / 50e9)
    assert second["flops_share"] == pytest.approx(2 * 100 * 50 * 2 / 1e-6 / 600e9)
    assert not second["cached"]
