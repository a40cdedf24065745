"""Energy as it is read from raw windows: closed forms, intervals, bounds; and the modelled one by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from qbench.probes.energy import context as energy_facts
from qbench.probes.energy import modelled
from qbench.probes.energy.windows import idle_w, integral, resolution, worked
from qbench.results.frames.frame import from_records
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS
from tests.results import factory

WIDTH_S = 0.002


def tick(at_s: float, joules: float) -> list[float]:
    return [at_s - WIDTH_S / 2, at_s + WIDTH_S / 2, joules]


def window(work_j: float = 1500.0, work_s: float = 5.0, rest_w: float = 60.0) -> dict[str, Any]:
    """Steps every 0.1 s: the work begins 0.03 s after one and ends 0.04 s before one; rest is constant."""
    inner_j = work_j + rest_w * (0.03 + 0.24)
    first_j = 0.1 * rest_w + work_j + rest_w * (0.03 + 0.04)
    after = [(work_s + 0.04 + 0.1 * number, first_j + 0.1 * rest_w * number) for number in range(4)]
    times = [0.2 + 0.1 * number for number in range(48)]
    return {
        "ticks": [tick(*one) for one in ((-0.13, 0.0), (-0.03, 0.1 * rest_w), *after)],
        "gross_j": inner_j,
        "window_s": work_s + 0.27,
        "work_s": work_s,
        "power_s": times,
        "power_w": [work_j / work_s] * len(times),
        "end_w": work_j / work_s,
        "throttle": 0,
        "sampling_s": 0.001,
    }


def part(*windows: dict[str, Any], tokens: int = 500) -> dict[str, Any]:
    columns = {key: [one[key] for one in windows] for key in windows[0]}
    return {"tokens": tokens, "iterations": 5, **columns}


def sample(*windows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    rest = [window(work_j=watts * 5, rest_w=watts) for watts in (60.0, 64.0)]
    return {
        "unit": "J",
        "source": "nvml_counter",
        "method": "counter",
        "scope": "gpu",
        "resolution_j": 0.001,
        "period_s": 0.1,
        "calibration": [tick(0.1 * number, 6.001 * number) for number in range(9)],
        "idle": {"before": rest[0], "after": rest[1]},
        "state_before": {"temperature_c": 50, "other_processes": 0, "power_limit_mw": 700000},
        "state_after": {"temperature_c": 61, "other_processes": 2},
        "prefill": part(*windows),
        "decode": part(*windows),
        **changes,
    }


def record_of(energy: dict[str, Any], **changes: Any) -> Record:
    return factory.record(samples=factory.samples(energy=json.loads(json.dumps(energy))), **changes)


def value(name: str, record: Record) -> float | None:
    return METRICS[name].value(record)


def test_lead_and_tail_are_taken_off() -> None:
    (found,) = worked(sample(window(1500.0)), "decode")
    assert found.energy_j == pytest.approx(1500.0)
    assert found.seconds == 5.0
    assert found.integrated_j == pytest.approx(1500.0)


def test_the_bound_is_the_sum_of_its_parts() -> None:
    """At rest power is 60 W ± (resolution + 60 W · bracket) / 0.1 s; the tail may be at 300 W throughout."""
    (found,) = worked(sample(window(1500.0)), "decode")
    rest_error_w = (0.001 + 60 * WIDTH_S) / 0.1
    by_hand = 0.001 + 60 * WIDTH_S / 2 + 300 * WIDTH_S / 2 + (0.03 + 0.24) * rest_error_w + 0.04 * 240
    assert found.bound_j == pytest.approx(by_hand, rel=1e-6)


def test_energy_that_arrives_late_is_the_works_and_in_the_bound() -> None:
    """12 J of the 1500 show only in the second step after the work."""
    late = window(1500.0)
    late["ticks"][2][2] -= 12
    (found,), (plain,) = worked(sample(late), "decode"), worked(sample(window(1500.0)), "decode")
    assert found.energy_j == pytest.approx(1500.0)
    assert found.bound_j == pytest.approx((plain.bound_j or 0) + 12)


@pytest.mark.parametrize("step_j", [0.001, 0.01, 1.0])
def test_resolution_is_what_all_readings_are_multiples_of(step_j: float) -> None:
    rough = [tick(0.1 * number, step_j * count) for number, count in enumerate((0, 61, 122, 185, 247))]
    coarse = window(1500.0)
    coarse["ticks"] = [[after, by, round(joules / step_j) * step_j] for after, by, joules in coarse["ticks"]]
    energy = sample(coarse, calibration=rough, idle={"before": coarse, "after": coarse})
    assert resolution(energy) == pytest.approx(step_j)


def test_integral_is_a_trapezoid_held_level_outside_its_samples() -> None:
    assert integral([1.0, 3.0, 4.0], [10.0, 30.0, 30.0], 6.0) == 10 + 40 + 30 + 60
    assert integral([1.0], [10.0], 6.0) is None


def test_mean_interval_and_net() -> None:
    record = record_of(sample(window(1400.0), window(1500.0), window(1600.0)))
    assert value("energy_j_per_token", record) == pytest.approx(3.0)
    half = 4.302653 * 0.2 / math.sqrt(3)  # t(0.975, 2), s = 100 J over 500 tokens
    assert value("energy_j_per_token_low", record) == pytest.approx(3.0 - half)
    assert value("energy_j_per_token_high", record) == pytest.approx(3.0 + half)
    assert idle_w(sample(window()), "decode") == pytest.approx([60, 64])
    assert value("energy_net_j_per_token", record) == pytest.approx(3.0 - 62 * 5 / 500)
    assert value("energy_idle_drift_w", record) == pytest.approx(4)
    assert value("energy_power_w", record) == pytest.approx(300)


def test_two_trials_have_no_interval_and_say_why() -> None:
    record = record_of(sample(window(1400.0), window(1600.0)))
    assert value("energy_j_per_token", record) == pytest.approx(3.0)
    assert value("energy_j_per_token_low", record) is None
    assert METRICS["energy_j_per_token_low"].reason(record) == "an interval needs at least 3 trials"


def test_the_residual_is_integrated_over_counted() -> None:
    off = window(1500.0)
    off["power_w"] = [watts * 1.03 for watts in off["power_w"]]
    assert value("energy_residual_pct", record_of(sample(off))) == pytest.approx(3.0)


def test_what_stood_around_is_in_the_frame() -> None:
    held = {**window(), "throttle": 0x5}
    row = from_records([record_of(sample(window(), held, {**window(), "throttle": 0x800}))]).iloc[0]
    assert (row["energy_source"], row["energy_scope"]) == ("nvml_counter", "gpu")
    assert row["energy_throttle"] == "sw_power_cap, 0x800"
    assert row["energy_other_processes"] == 2
    assert (row["energy_temperature_start_c"], row["energy_temperature_end_c"]) == (50, 61)
    assert row["energy_power_limit_w"] == 700


def test_no_throttling_is_told_from_not_known() -> None:
    calm, unknown = record_of(sample(window())), record_of(sample({**window(), "throttle": None}))
    [throttle] = [text.value for text in energy_facts.TEXTS if text.name == "energy_throttle"]
    assert throttle(calm) == "none"
    assert throttle(unknown) is None


def test_without_a_source_every_measured_column_has_the_probes_reason() -> None:
    record = factory.record()
    for name, metric in METRICS.items():
        if metric.source == "energy" and not name.startswith("energy_modelled"):
            assert metric.value(record) is None
            assert metric.reason(record) == "no_driver", name


FACTS = {"parameters": 1_000_000, "vocabulary": 1000, "hidden_size": 100, "tied_head": False}


def model_record(method: str = "none", dtype: str = "fp16", layers: Any = (), **facts: Any) -> Record:
    return factory.record(
        method, cell_changes={"dtype": dtype}, model={**FACTS, **facts}, layers=[dict(one) for one in layers]
    )


def test_modelled_energy_by_hand() -> None:
    """900,000 products of fp16, 1.1 + 0.9 pJ; 11.6 MB less a table of 200 kB, 1950 pJ for 8 bytes."""
    record = model_record()
    assert value("energy_modelled_operations_j_per_token", record) == pytest.approx(900_000 * 2.0e-12)
    dram_j = (11_600_000 - 200_000) * 1950 / 8 * 1e-12
    assert value("energy_modelled_dram_j_per_token", record) == pytest.approx(dram_j)
    assert value("energy_modelled_j_per_token", record) == pytest.approx(900_000 * 2.0e-12 + dram_j)


def test_a_tied_table_is_multiplied_and_read() -> None:
    record = model_record(tied_head=True)
    assert value("energy_modelled_operations_j_per_token", record) == pytest.approx(1_000_000 * 2.0e-12)
    assert value("energy_modelled_dram_j_per_token", record) == pytest.approx(11_600_000 * 1950 / 8 * 1e-12)


def test_int8_activations_multiply_int8_and_outliers_do_not() -> None:
    layer = {"shape": [500, 800], "code": "int", "activations": "dynamic", "outlier_columns": 8}
    record = model_record("absmax", layers=[layer])
    by_hand = 500 * 792 * (0.2 + 0.1) + (500_000 + 500 * 8) * (1.1 + 0.9)
    assert value("energy_modelled_operations_j_per_token", record) == pytest.approx(by_hand * 1e-12)


def test_weight_only_codes_multiply_in_the_cells_dtype() -> None:
    layer = {"shape": [500, 800], "code": "int", "activations": "none"}
    assert modelled.products(model_record("absmax", "fp32", [layer])) == {"fp32": 900_000}


@pytest.mark.parametrize(
    ("dtype", "layers", "named"),
    [
        ("bf16", [], "has no bf16"),
        ("fp32", [{"shape": [500, 800], "code": "e4m3", "activations": "dynamic"}], "has no e4m3"),
    ],
)
def test_a_format_that_the_table_lacks_is_null_with_the_reason(
    dtype: str, layers: list[dict[str, Any]], named: str
) -> None:
    record = model_record("fp8", dtype, layers)
    assert value("energy_modelled_j_per_token", record) is None
    assert named in METRICS["energy_modelled_j_per_token"].reason(record)
    assert value("energy_modelled_dram_j_per_token", record) is not None


def test_modelled_energy_says_so() -> None:
    for name, metric in METRICS.items():
        if name.startswith("energy_modelled"):
            assert metric.description.startswith("modelled, not measured")
            assert "Horowitz, ISSCC 2014" in metric.description
    assert "memory" in METRICS["energy_modelled_dram_j_per_token"].reason(
        factory.record(samples={}, model=FACTS)
    )
    assert METRICS["energy_modelled_j_per_token"].value(factory.failed()) is None
