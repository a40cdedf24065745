"""Deterministic numbers of two sides: thresholds to the last bit, kernels, codes, lost and failed cells."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from qbench.errors import ResultsError
from qbench.gate.baseline.baseline_cell import BaselineCell, baseline_cells
from qbench.gate.verdicts.exact import exact_findings
from qbench.gate.verdicts.finding import Finding, GateResult
from qbench.gate.verdicts.stored import timed_findings
from qbench.results.stats.bootstrap import intervals
from qbench.results.store.record import Record
from qbench.suite.gate import GateSpec
from tests.results import factory

ALL_LAYERS = [f"model.layers.{index}.q_proj" for index in range(5)]


def _layers(**changes: Any) -> list[dict[str, Any]]:
    hashed = {"codes_sha256": "ab" * 32}
    return [{**factory.layer(), "name": name, **hashed, **changes} for name in ALL_LAYERS]


def _records(nll_factor: float = 1.0, **changes: Any) -> list[Record]:
    """The unquantized model and int8, whose losses are `nll_factor` times what they were."""
    nll = [value * 1.01 * nll_factor for value in factory.LOSSES]
    quantized = {"samples": factory.samples(perplexity=factory.perplexity(nll)), "layers": _layers()}
    return [factory.record(), factory.record("absmax", **{**quantized, **changes})]


def _compare(a: list[Record], b: list[Record], **gate: Any) -> dict[tuple[str, str], Finding]:
    found = exact_findings(baseline_cells(a), baseline_cells(b), GateSpec.model_validate(gate))
    return {(finding.cell.split(" ")[1], finding.metric): finding for finding in found}


def _exit(found: dict[tuple[str, str], Finding]) -> int:
    return GateResult("s", tuple(found.values())).exit_code


def _perplexity_times(factor: float) -> float:
    """Factor by which the losses must grow for the perplexity of int8 to grow by `factor`."""
    nats = math.fsum(factory.LOSSES) * 1.01 / (factory.TOKENS * factory.WINDOWS)
    return 1 + math.log(factor) / nats


def test_the_same_records_are_the_same_to_the_last_bit() -> None:
    found = _compare(_records(), _records())
    assert {finding.verdict for finding in found.values()} == {"same"}
    assert found["absmax", "perplexity"].reason == "the very same number"
    assert {"perplexity", "perplexity_ratio", "weight_bytes", "kernels", "codes"} <= {
        metric for cell, metric in found if cell == "absmax"
    }
    assert ("none", "perplexity_ratio") not in found
    assert _exit(found) == 0


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.005, "worse"), (1.0049, "same"), (1.02, "worse"), (0.9951, "same"), (0.99, "better")],
)
def test_perplexity_by_its_threshold(factor: float, verdict: str) -> None:
    found = _compare(_records(), _records(_perplexity_times(factor)))
    for metric in ("perplexity", "perplexity_ratio"):
        one = found["absmax", metric]
        assert one.verdict == verdict
        assert one.change == pytest.approx(factor)
        assert one.low is not None
        assert one.high is not None
        assert one.low <= factor <= one.high
    assert found["none", "perplexity"].verdict == "same"
    assert _exit(found) == (1 if verdict == "worse" else 0)


def test_a_worse_base_shows_in_its_own_perplexity() -> None:
    """Base and method worse alike: their ratio is as before, and only the perplexities tell."""
    worse = factory.samples(perplexity=factory.perplexity([value + 30 for value in factory.LOSSES]))
    now = [factory.record(samples=worse), _records()[1]]
    found = _compare(_records(), now)
    assert found["none", "perplexity"].verdict == "worse"
    assert found["absmax", "perplexity_ratio"].verdict == "better"


def test_the_interval_of_a_ratio_is_that_of_the_paired_windows() -> None:
    rng = np.random.default_rng(0)
    nll = [value * 1.01 + float(rng.normal(0, 5)) for value in factory.LOSSES]
    now = [
        factory.record(),
        factory.record("absmax", samples=factory.samples(perplexity=factory.perplexity(nll))),
    ]
    found = _compare(_records(), now)["absmax", "perplexity"]
    gap = np.array([nll]) - np.array([[value * 1.01 for value in factory.LOSSES]])
    _, low, high = intervals(gap, np.full(factory.WINDOWS, float(factory.TOKENS)), "difference")
    assert (found.low, found.high) == (pytest.approx(math.exp(low[0])), pytest.approx(math.exp(high[0])))


def test_a_number_at_its_threshold_is_worse_whatever_floats_make_of_it() -> None:
    for size in (1, 3, 7, 49, 1_000_003, 11_600_000):
        a = [factory.record(samples=factory.samples(memory=factory.memory(100 * size)))]
        b = [factory.record(samples=factory.samples(memory=factory.memory(101 * size)))]
        assert _compare(a, b)["none", "weight_bytes"].verdict == "worse", size
        almost = [factory.record(samples=factory.samples(memory=factory.memory(101 * size - 1)))]
        if size > 1:
            assert _compare(a, almost)["none", "weight_bytes"].verdict == "same", size


def test_a_threshold_of_one_means_any_change() -> None:
    b = [factory.record(samples=factory.samples(memory=factory.memory(11_600_001)))]
    found = _compare([factory.record()], b, weight_bytes=1)
    assert found["none", "weight_bytes"].verdict == "worse"
    assert (
        _compare([factory.record()], [factory.record()], weight_bytes=1)["none", "weight_bytes"].verdict
        == "same"
    )


def test_what_is_switched_off_is_shown_and_does_not_count() -> None:
    found = _compare(_records(), _records(1.1), perplexity=False, perplexity_ratio=False)
    assert (found["absmax", "perplexity"].verdict, found["absmax", "perplexity"].gated) == ("worse", False)
    assert _exit(found) == 0


def test_an_override_holds_for_the_cells_that_match() -> None:
    override = {"match": {"method": "abs*", "num_bits": 8}, "perplexity": 2.0, "perplexity_ratio": False}
    found = _compare(_records(), _records(1.01), overrides=[override])
    assert found["absmax", "perplexity"].verdict == "same"
    assert found["absmax", "perplexity"].threshold == 2.0
    assert _exit(found) == 0
    assert (
        _exit(_compare(_records(), _records(1.01), overrides=[{**override, "match": {"method": "hqq"}}])) == 1
    )


def test_a_silent_fallback_of_one_layer_is_found_and_named() -> None:
    layers = _layers()
    layers[3] = {**layers[3], "fallback_reason": "this CPU has no AVX-512"}
    found = _compare(_records(), _records(layers=layers))["absmax", "kernels"]
    assert found.verdict == "worse"
    assert found.reason == "1 layer changed: model.layers.3.q_proj fell back: this CPU has no AVX-512"


@pytest.mark.parametrize(
    "executed",
    [
        [{"kernel": "dequant_gemm", "min_rows": 1, "max_rows": 512, "calls": 12}],
        [
            {"kernel": "int8_packed", "min_rows": 1, "max_rows": 64, "calls": 8},
            {"kernel": "dequant_gemm", "min_rows": 128, "max_rows": 512, "calls": 4},
        ],
        [],
    ],
    ids=["another", "for some rows", "none"],
)
def test_another_kernel_in_one_layer_is_worse(executed: list[dict[str, Any]]) -> None:
    layers = _layers()
    layers[0] = {**layers[0], "executed": executed}
    found = _compare(_records(), _records(layers=layers))
    assert found["absmax", "kernels"].verdict == "worse"
    assert "model.layers.0.q_proj" in found["absmax", "kernels"].reason
    assert _exit(found) == 1
    assert _exit(_compare(_records(), _records(layers=layers), kernels=False)) == 0


def test_how_often_a_kernel_ran_is_no_change() -> None:
    """Warming up takes as many rounds as it takes."""
    executed = [{"kernel": "int8_packed", "min_rows": 1, "max_rows": 512, "calls": 99}]
    found = _compare(_records(), _records(layers=_layers(executed=executed)))
    assert found["absmax", "kernels"].verdict == "same"


def test_a_layer_that_is_not_quantized_any_more_is_worse() -> None:
    found = _compare(_records(), _records(layers=_layers()[1:]))["absmax", "kernels"]
    assert found.verdict == "worse"
    assert "model.layers.0.q_proj is not quantized any more" in found.reason


def test_other_codes_are_worse_although_no_number_moved() -> None:
    layers = _layers()
    layers[2] = {**layers[2], "codes_sha256": "cd" * 32}
    found = _compare(_records(), _records(layers=layers))
    assert found["absmax", "codes"].verdict == "worse"
    assert "model.layers.2.q_proj" in found["absmax", "codes"].reason
    assert _exit(found) == 1
    assert _exit(_compare(_records(), _records(layers=layers), codes=False)) == 0


def test_records_of_before_there_was_a_hash_are_read() -> None:
    before = [{key: value for key, value in layer.items() if key != "codes_sha256"} for layer in _layers()]
    found = _compare(_records(layers=before), _records())
    assert (found["absmax", "codes"].verdict, found["absmax", "codes"].gated) == ("new", False)
    assert _exit(found) == 0


@pytest.mark.parametrize("without", [ALL_LAYERS, ALL_LAYERS[:1]])
def test_a_hash_that_only_the_baseline_has_is_missing(without: list[str]) -> None:
    layers = _layers()
    for layer in layers:
        if layer["name"] in without:
            del layer["codes_sha256"]
    found = _compare(_records(), _records(layers=layers))
    lost = found["absmax", "codes"]
    assert (lost.verdict, lost.gated, _exit(found)) == ("missing", True, 1)
    assert f"{without[0]} has no hash any more" in lost.reason


@pytest.mark.parametrize(
    ("factor", "verdict", "code"),
    [(1.0, "same", 0), (1.09, "same", 0), (1.2, "worse", 1), (None, "missing", 1)],
)
def test_a_peak_is_judged_by_its_threshold_alone_where_there_is_one(
    factor: float | None, verdict: str, code: int
) -> None:
    samples = factory.samples(perplexity=factory.perplexity([value * 1.01 for value in factory.LOSSES]))
    peak = samples["memory"]["peak_memory_bytes"]
    samples["memory"] = {**samples["memory"], "peak_memory_bytes": factor and factor * peak}
    other = _records(samples=samples)
    found = _compare(_records(), other, peak_memory_bytes=1.1)
    finding = found["absmax", "peak_memory_bytes"]
    assert (finding.verdict, finding.gated, _exit(found)) == (verdict, True, code)
    assert finding.baseline == peak
    assert ("absmax", "peak_memory_bytes") not in _compare(_records(), other)
    cells, gate = (
        (baseline_cells(_records()), baseline_cells(other)),
        GateSpec.model_validate({"peak_memory_bytes": 1.1}),
    )
    assert "peak_memory_bytes" not in [one.metric for one in timed_findings(*cells, gate)]
    assert "peak_memory_bytes" in [one.metric for one in timed_findings(*cells, GateSpec())]


def test_a_cell_with_other_settings_is_said_to_be_that() -> None:
    before, after = ([factory.record(cell_changes={"seed": seed})] for seed in (0, 1))
    found = exact_findings(baseline_cells(before), baseline_cells(after), GateSpec())
    assert [(one.verdict, "with other settings" in one.reason) for one in found] == [
        ("missing", True),
        ("new", False),
    ]


def test_many_layers_are_counted_and_the_first_named() -> None:
    found = _compare(_records(), _records(layers=_layers(fallback_reason="asked for")))["absmax", "kernels"]
    assert found.reason.startswith("5 layers changed: ")
    assert found.reason.endswith("; and 2 more")


@pytest.mark.parametrize("status", ["failed", "oom", "timeout", "skipped"])
def test_a_cell_that_newly_fails_is_failed(status: str) -> None:
    now = [factory.record(), factory.failed("absmax", status=status, reason="group_size 7")]
    found = _compare(_records(), now)
    assert found["absmax", "status"].verdict == "failed"
    assert found["absmax", "status"].reason == f"{status}: group_size 7"
    assert _exit(found) == 1


def test_a_cell_that_failed_before_too_is_no_news() -> None:
    both = [factory.record(), factory.failed("absmax")]
    assert _exit(_compare(both, both)) == 0
    assert _compare(both, _records())["absmax", "status"].verdict == "better"


def test_a_lost_cell_is_missing_and_a_new_one_is_shown() -> None:
    lost = _compare(_records(), _records()[:1])
    assert lost["absmax", "status"].verdict == "missing"
    assert _exit(lost) == 1
    new = _compare(_records()[:1], _records())
    assert (new["absmax", "status"].verdict, new["absmax", "status"].gated) == ("new", False)
    assert _exit(new) == 0
    assert _exit(_compare([], _records())) == 3


def test_a_perplexity_that_is_no_number_any_more_is_missing() -> None:
    broken = factory.samples(perplexity=factory.perplexity([None, *factory.LOSSES[1:]]))
    found = _compare(_records(), _records(samples=broken))
    assert found["absmax", "perplexity"].verdict == "missing"
    assert _exit(found) == 1


def test_kept_cells_survive_json() -> None:
    for kept in baseline_cells(_records()).values():
        assert BaselineCell.from_dict(kept.to_dict()) == kept
        assert dataclasses.replace(kept, cell_id="") != kept


@pytest.mark.parametrize("damage", [{"kl": [0.1], "scored": [511] * 2}, {"kl": ["x"], "scored": [511]}])
def test_a_record_that_is_damaged_deep_inside_is_named(damage: dict[str, Any]) -> None:
    wrong = factory.record(
        "absmax", samples=factory.samples(perplexity=factory.perplexity(divergence=damage))
    )
    with pytest.raises(ResultsError, match=f"{wrong.cell.id}.json does not hold what qbench writes"):
        baseline_cells([factory.record(), wrong])
