"""Every metric against a hand calculation, and a reason for every null."""

from __future__ import annotations

import math
from typing import Any

import pytest

from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS
from tests.results import factory


def value(name: str, record: Record) -> float | None:
    return METRICS[name].value(record)


def with_samples(**changes: Any) -> Record:
    return factory.record("absmax", samples=factory.samples(**changes))


def test_perplexity_is_exp_of_total_nats_over_total_tokens() -> None:
    record = with_samples(perplexity=factory.perplexity([1000.0, 3000.0], tokens=[500, 500]))
    assert value("nll_per_token", record) == pytest.approx(4.0)
    assert value("perplexity", record) == pytest.approx(math.exp(4.0))
    assert value("perplexity_tokens", record) == 1000


@pytest.mark.parametrize("bad", [None, float("inf"), float("nan")])
def test_a_likelihood_that_is_not_finite_gives_no_perplexity(bad: float | None) -> None:
    record = with_samples(perplexity=factory.perplexity([1000.0, bad]))
    assert value("perplexity", record) is None


def test_decode_time_is_per_token_after_the_first() -> None:
    record = factory.record()
    assert value("decode_s_per_token", record) == pytest.approx(0.005)  # means 5, 4, 6 ms
    assert value("decode_s_per_token_min", record) == pytest.approx(0.004)
    assert value("decode_s_per_token_max", record) == pytest.approx(0.006)
    assert value("decode_tokens_per_s", record) == pytest.approx(200)
    assert value("prefill_s", record) == pytest.approx(0.011)
    assert value("prefill_tokens_per_s", record) == pytest.approx(128 / 0.011)
    assert value("latency_repetitions", record) == 3


def test_decoding_fewer_than_two_tokens_is_undefined_not_zero() -> None:
    record = with_samples(latency=factory.latency(decode_s=[[], [], []]))
    assert value("decode_s_per_token", record) is None
    assert "two generated tokens" in METRICS["decode_s_per_token"].reason(record)
    assert value("prefill_s", record) is not None


def test_throughput_counts_the_whole_batch() -> None:
    latency = factory.latency()
    latency["runs"][0]["batch_size"] = 4
    assert value("decode_tokens_per_s", with_samples(latency=latency)) == pytest.approx(800)


def test_bits_per_weight_are_weighted_by_size() -> None:
    layers = [factory.layer(4.0, (100, 100)), factory.layer(8.0, (300, 100))]
    assert value("bits_per_weight", factory.record("absmax", layers=layers)) == pytest.approx(7.0)
    assert value("bits_per_weight", factory.record()) == 16
    assert value("bits_per_weight", factory.record(cell_changes={"dtype": "fp32"})) == 32
    assert value("bits_per_weight", factory.record("absmax", layers=[])) is None


def test_energy_is_per_token_gross_and_net() -> None:
    part = {"gross_j": [100.0, 130.0, 110.0], "idle_w": 10.0, "tokens": 50, "window_s": [5.0, 5.0, 5.0]}
    record = with_samples(energy={"unit": "J", "source": "nvml_counter", "prefill": part, "decode": part})
    mean = 340 / 3 / 50
    assert value("energy_j_per_token", record) == pytest.approx(mean)
    assert value("energy_net_j_per_token", record) == pytest.approx(mean - 1)
    assert value("energy_j_per_prompt_token", record) == pytest.approx(mean)


@pytest.mark.parametrize(
    ("name", "record", "reason"),
    [
        ("energy_j_per_token", factory.record(), "no_driver"),
        ("quantize_peak_bytes", factory.record(), "nothing was quantized"),
        ("prefill_s", factory.record(samples={}), "latency was not asked for"),
        ("perplexity", factory.failed(), "failed: ValueError: group_size 7"),
        ("load_s", factory.record(phases={}), "this phase did not run"),
        ("weight_error", factory.record(), "no quantized layers"),
    ],
)
def test_every_null_has_its_reason(name: str, record: Record, reason: str) -> None:
    assert value(name, record) is None
    assert METRICS[name].reason(record) == reason


def test_no_metric_invents_a_number_for_an_empty_record() -> None:
    empty = factory.failed()
    assert {
        name: metric.value(empty) for name, metric in METRICS.items() if metric.value(empty) is not None
    } == {}


def test_p99_agrees_with_numpy() -> None:
    import numpy as np

    steps = [[0.001 * number for number in range(1, 32)], [0.1]]
    record = with_samples(latency=factory.latency(decode_s=steps))
    expected = np.quantile([step for run in steps for step in run], 0.99)
    assert value("decode_step_p99_s", record) == pytest.approx(expected)


def test_memory_s_derived_figures() -> None:
    ran = {"prompt_length": 20, "batch_size": 3, "generated_tokens": 7}
    record = with_samples(
        memory=factory.memory(
            kv_cache_bytes=3 * 26 * 512, workload=ran, process_peak_bytes=900, loaded_rss_bytes=640
        )
    )
    assert value("kv_cache_bytes_per_token", record) == 512
    assert value("peak_over_loaded_bytes", record) == 260
    older = with_samples(memory=factory.memory())
    assert value("kv_cache_bytes_per_token", older) is None
    assert (
        METRICS["kv_cache_bytes_per_token"].reason(older)
        == "the record does not tell the tokens that the cache holds"
    )
    assert value("activation_bytes", older) is None
