"""The section `gate`: names as in the metric table, thresholds that make sense, no part of a cell's id."""

from __future__ import annotations

import math

import pytest

from qbench.errors import SuiteError
from qbench.gate.baseline.baseline_cell import gate_of
from qbench.gate.verdicts.limits import by_kind, limits_of
from qbench.results.table.metrics import METRICS
from qbench.suite.gate import GateSpec, ThresholdsSpec
from qbench.suite.load import parse_suite
from qbench.suite.spec import Suite

START = 'name: a\nmodels: [{source: "builtin:x"}]\nmethods: [{name: none}]\n'
FACTS = {"method": "gptq", "num_bits": "4", "model": "m"}


def _suite(gate: str) -> Suite:
    return parse_suite(f"{START}gate: {gate}\n", "s.yaml")


DEFAULTS = {
    "perplexity": 1.005, "perplexity_ratio": 1.005, "nll_per_token": None, "word_perplexity": 1.005,
    "byte_perplexity": 1.005, "bits_per_byte": 1.005, "kl_divergence": 0.005, "kl_p99": None, "kl_max": None,
    "top1_agreement": 0.005, "rms_delta_p": None, "task_accuracy": 0.01, "bits_per_weight": 1.001,
    "weight_error": 1.01, "weight_bytes": 1.01, "quantized_bytes": None, "metadata_bytes": None,
    "disk_bytes": None, "saved_bytes": 1.01, "activation_bytes": 1.05, "kv_cache_bytes": 1.01,
    "kv_cache_bytes_per_token": None, "prefill_s": 1.03, "decode_s_per_token": 1.03,
    "prefill_tokens_per_s": None, "decode_tokens_per_s": None, "decode_step_p50_s": None,
    "decode_step_p90_s": None, "decode_step_p99_s": None, "load_s": None, "quantize_s": None,
    "compile_s": None, "energy_j_per_token": None, "energy_j_per_prompt_token": None,
    "peak_memory_bytes": None, "quantize_peak_bytes": None,
}  # fmt: skip
"""Thresholds that suites rely on; None: gated only where a suite says so."""
DIFFERENCES = {
    "nll_per_token", "kl_divergence", "kl_p99", "kl_max", "top1_agreement", "rms_delta_p", "task_accuracy",
}  # fmt: skip


def test_its_names_and_defaults_are_those_that_suites_rely_on() -> None:
    gates = {name: gate_of(name) for name in ThresholdsSpec.model_fields}
    thresholds = {name: gate.threshold if gate else 0 for name, gate in gates.items()}
    assert thresholds == {**thresholds, **DEFAULTS}, "a name may be added, none of these may change"
    by_difference = {name for name, gate in gates.items() if gate and gate.by == "difference"}
    assert by_difference & set(DEFAULTS) == DIFFERENCES
    known = [METRICS[name] for name in DEFAULTS if name in METRICS]
    assert all(metric.kind in ("deterministic", "timed") and metric.direction for metric in known)


@pytest.mark.parametrize("name", ThresholdsSpec.model_fields)
def test_a_factor_is_one_or_more_and_a_difference_zero_or_more(name: str) -> None:
    known = gate_of(name)
    assert known is not None
    least = 1.0 if known.by == "factor" else 0.0
    assert known.threshold is None or known.threshold > least
    assert _suite(f"{{{name}: {least}}}").gate.thresholds() == {name: least}
    with pytest.raises(SuiteError, match=rf"gate.{name} = .*from {least:g} to 1000, or false"):
        _suite(f"{{{name}: {least - 0.01}}}")


def test_left_out_it_has_the_defaults_of_the_table() -> None:
    limits = limits_of(parse_suite(START, "s.yaml").gate, FACTS)
    assert limits["perplexity_ratio"] == 1.005
    assert limits["decode_s_per_token"] == 1.03
    assert "quantize_s" not in limits
    assert set(by_kind(limits, "timed")) >= {"prefill_s", "decode_s_per_token"}
    assert set(by_kind(limits, "timed")) | set(by_kind(limits, "deterministic")) == set(limits)


def test_what_the_suite_says_goes_before_the_table_and_the_last_override_before_both() -> None:
    gate = _suite(
        "{perplexity: 1.01, quantize_s: 1.5, prefill_s: false, overrides: ["
        "{match: {method: 'g*'}, perplexity: 1.1, quantize_s: 2}, {match: {num_bits: 4}, perplexity: 1.2},"
        "{match: {method: hqq}, perplexity: 9}]}"
    ).gate
    limits = limits_of(gate, FACTS)
    assert (limits["perplexity"], limits["quantize_s"]) == (1.2, 2.0)
    assert "prefill_s" not in limits
    assert limits_of(gate, {**FACTS, "num_bits": "8"})["perplexity"] == 1.1


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("{perplexty: 1.1}", "did you mean 'perplexity'"),
        ("{perplexity: true}", "or false not to gate it"),
        ("{perplexity: abc}", "should be a number"),
        ("{perplexity: .nan}", "is no finite number"),
        ("{correction: hlm}", "did you mean 'holm'"),
        ("{alpha: 0}", "greater than 0"),
        ("{budget_s: -1}", "greater than 0"),
        ("{overrides: [{perplexity: 1.1}]}", "match.*is missing"),
        ("{overrides: [{match: {}, perplexty: 1.1}]}", "did you mean 'perplexity'"),
    ],
)
def test_what_is_wrong_is_named(gate: str, message: str) -> None:
    with pytest.raises(SuiteError, match=rf"s.yaml:4:.*{message}"):
        _suite(gate)


def test_false_is_read_as_never() -> None:
    assert _suite("{perplexity: false}").gate.perplexity == math.inf
    assert GateSpec().overrides == []
