"""The energy probe on a simulated GPU whose truth is known, read back as a user reads it."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from qbench.measure.generation import Generation
from qbench.probes.energy.measure import trials as energy
from qbench.probes.energy.measure.meter import NoEnergy
from qbench.probes.energy.measure.nvml import NvmlMeter
from qbench.report.charts.power import energy_windows
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS
from tests.probes.conftest import bench_of, tiny_llama
from tests.probes.energy.nvml.library import SimulatedGpu, SimulatedNvml, simulated

PREFILL_S, STEP_S, BUSY_W, IDLE_W = 0.05, 0.01, 300.0, 60.0


@pytest.fixture(scope="module")
def library() -> Iterator[SimulatedNvml]:
    with simulated() as nvml:
        yield nvml


@pytest.fixture
def gpu(library: SimulatedNvml) -> SimulatedGpu:
    library.reset()
    found = library.add_gpu(idle_w=IDLE_W)
    found.processes(1)
    return found


@pytest.fixture
def scripted(gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch) -> SimulatedGpu:
    """Every prefill takes 50 ms and every decode step 10 ms at 300 W, on the simulated clock."""

    def draw(seconds: float) -> None:
        gpu.load("constant", BUSY_W, BUSY_W)
        gpu.nvml.clock.sleep_s(seconds)
        gpu.rest()

    def prefill(self: Any) -> None:
        draw(PREFILL_S)
        self.token = 1

    monkeypatch.setattr(Generation, "prefill", prefill)
    monkeypatch.setattr(Generation, "step", lambda self: draw(STEP_S))
    monkeypatch.setattr(Generation, "rewind", lambda self, tokens: None)
    return gpu


def energy_bench(**changes: float) -> Any:
    latency = {"prompt_lengths": [16], "batch_sizes": [2], "generated_tokens": 5, "repetitions": 1}
    return bench_of(tiny_llama(), latency=latency, energy={"min_window_s": 2.0, "trials": 3, **changes})


def probe(gpu: SimulatedGpu, **changes: float) -> tuple[dict[str, Any], Record]:
    """The probe's sample after a trip through JSON, and a record around it."""
    bench = energy_bench(**changes)
    sample = energy.measure_with(NvmlMeter(gpu.uuid, gpu.nvml.pynvml), gpu.nvml.clock, bench)
    stored = json.loads(json.dumps(sample, allow_nan=False))
    return stored, Record(bench.cell, "s", "r", "ok", samples={"energy": stored})


def column(record: Record, name: str) -> float:
    value = METRICS[name].value(record)
    assert value is not None, METRICS[name].reason(record)
    return value


def test_joules_per_token_gross_idle_and_net(scripted: SimulatedGpu) -> None:
    """A prefill of 2 · 16 tokens draws 15 J, a step of 2 tokens 3 J; a fifth of that is rest."""
    sample, record = probe(scripted)
    assert (sample["source"], sample["method"], sample["scope"]) == ("nvml_counter", "counter", "gpu")
    for part, name, truth_j in (("prefill", "prompt_token", 15 / 32), ("decode", "token", 3 / 2)):
        assert column(record, f"energy_j_per_{name}") == pytest.approx(truth_j, rel=0.002)
        assert column(record, f"energy_net_j_per_{name}") == pytest.approx(0.8 * truth_j, rel=0.002)
        assert all(2.0 <= seconds < 2.3 for seconds in sample[part]["work_s"])
        low, high = (column(record, f"energy_j_per_{name}_{end}") for end in ("low", "high"))
        assert low <= column(record, f"energy_j_per_{name}") <= high
    assert column(record, "energy_idle_w") == pytest.approx(IDLE_W, rel=1e-3)
    assert column(record, "energy_idle_drift_w") == pytest.approx(0, abs=0.1)
    assert column(record, "energy_power_w") == pytest.approx(BUSY_W, rel=0.002)
    assert column(record, "energy_residual_pct") == pytest.approx(0, abs=0.5)
    assert 0 < column(record, "energy_error_pct") < 100 * 0.2 / 2
    assert column(record, "energy_trials") == 3
    assert column(record, "energy_other_processes") == 0
    assert column(record, "energy_sampling_share") < 0.001


def test_the_picture_over_time_shows_rest_work_and_rest(scripted: SimulatedGpu) -> None:
    sample, _ = probe(scripted)
    windows = energy_windows(sample, "decode")
    assert len(windows) == 3
    for window in windows:
        assert window.edges is not None
        assert window.edges[0] < 0 < window.work_s < window.edges[1]
        assert all(watts == pytest.approx(BUSY_W, rel=0.01) for _, watts in window.power)
        before, during, *_, after = (watts for _, _, watts in window.counter)
        assert (before, after) == pytest.approx((IDLE_W, IDLE_W), rel=0.02)
        assert 0.9 * BUSY_W < during < 1.01 * BUSY_W
        assert window.energy_j == pytest.approx(BUSY_W * window.work_s, rel=0.002)
        across_j = sum((end - start) * watts for start, end, watts in window.counter)
        ticks = sample["decode"]["ticks"][window.trial - 1]
        assert across_j == pytest.approx(ticks[-1][2] - ticks[0][2], rel=1e-9)


def test_trials_begin_at_different_phases(scripted: SimulatedGpu) -> None:
    sample, _ = probe(scripted, trials=4)
    leads = [-(ticks[1][0] + ticks[1][1]) / 2 / sample["period_s"] for ticks in sample["decode"]["ticks"]]
    assert sorted(int(4 * lead) for lead in leads) == [0, 1, 2, 3]


def test_power_is_read_no_faster_than_every_100_ms(scripted: SimulatedGpu) -> None:
    sample, _ = probe(scripted)
    for times in (*sample["prefill"]["power_s"], *sample["decode"]["power_s"]):
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert len(gaps) > 8
        assert min(gaps) >= 0.1


def test_idle_drift_shows(scripted: SimulatedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU warms up: from the first prefill on it draws 66 W at rest."""
    rest = type(scripted).rest

    def warmer(self: SimulatedGpu, *args: Any) -> None:
        self.idle_w = 66.0
        rest(self, *args)

    monkeypatch.setattr(type(scripted), "rest", warmer)
    _, record = probe(scripted)
    assert column(record, "energy_idle_drift_w") == pytest.approx(6, abs=0.1)
    assert column(record, "energy_idle_w") == pytest.approx(63, abs=0.1)


def test_without_a_counter_power_is_integrated(scripted: SimulatedGpu) -> None:
    scripted.nvml.fail("nvmlDeviceGetTotalEnergyConsumption", 3)
    sample, record = probe(scripted)
    assert (sample["source"], sample["method"]) == ("nvml_integrated", "integrated")
    assert sample["counter_reason"].startswith("not_supported")
    assert sample["decode"]["ticks"] == [None] * 3
    assert column(record, "energy_j_per_token") == pytest.approx(1.5, rel=0.01)
    assert column(record, "energy_net_j_per_token") == pytest.approx(1.2, rel=0.01)
    assert METRICS["energy_residual_pct"].value(record) is None
    assert METRICS["energy_residual_pct"].reason(record) == "there is no second, independent source"
    assert METRICS["energy_period_s"].value(record) is None


def test_throttling_during_the_work_is_seen_and_named(scripted: SimulatedGpu) -> None:
    from qbench.probes.energy.context import TEXTS

    scripted.facts(temperature_c=83, throttle=0x1 | 0x4 | 0x20)
    _, record = probe(scripted)
    texts = {text.name: text.value(record) for text in TEXTS}
    assert texts["energy_throttle"] == "sw_power_cap, sw_thermal"
    assert column(record, "energy_temperature_start_c") == 83
    assert column(record, "energy_power_limit_w") == 700


def test_the_probe_runs_the_real_model(gpu: SimulatedGpu) -> None:
    bench = energy_bench(min_window_s=0.5, trials=1)
    forward = bench.model.forward

    def slow_forward(*args: Any, **kwargs: Any) -> Any:
        gpu.nvml.clock.sleep_s(0.05)
        return forward(*args, **kwargs)

    bench.model.forward = slow_forward
    sample = energy.measure_with(NvmlMeter(gpu.uuid, gpu.nvml.pynvml), gpu.nvml.clock, bench)
    assert sample["prefill"]["tokens"] == sample["prefill"]["iterations"] * 32
    assert sample["decode"]["tokens"] == sample["decode"]["iterations"] * 8


@pytest.mark.parametrize("counter", [True, False])
def test_a_window_too_short_is_null_with_its_reason(
    gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch, counter: bool
) -> None:
    if not counter:
        gpu.nvml.fail("nvmlDeviceGetTotalEnergyConsumption", 3)
    monkeypatch.setattr(energy, "open_meter", lambda device: NvmlMeter(gpu.uuid, gpu.nvml.pynvml))
    monkeypatch.setattr(energy, "Clock", lambda: gpu.nvml.clock)
    sample = energy.measure(energy_bench(min_window_s=0.2))
    assert (sample["value"], sample["reason"], sample["unit"]) == (None, "window_too_short", "J")
    assert "energy.min_window_s 0.2" in sample["detail"]


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetHandleByUUID"])
def test_a_failure_is_null_with_its_reason(
    gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    gpu.nvml.fail(function, 4)
    monkeypatch.setattr(energy, "open_meter", lambda device: NvmlMeter(gpu.uuid, gpu.nvml.pynvml))
    sample = energy.measure(energy_bench())
    assert (sample["value"], sample["reason"]) == (None, "no_permission")


def test_doctor_tells_what_the_source_can_do(gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "open_meter", lambda device: NvmlMeter(gpu.uuid, gpu.nvml.pynvml))
    monkeypatch.setattr(energy, "Clock", lambda: gpu.nvml.clock)
    said = energy.sources("cuda:0")["nvml_counter"]
    assert said.startswith("counter of the gpu, period 100.")
    assert "step 1 mJ" in said
    assert said.endswith("instant power of the gpu, now 60 W")

    def none(device: torch.device) -> None:
        raise NoEnergy("no_driver", "no library")

    monkeypatch.setattr(energy, "open_meter", none)
    assert energy.sources("cuda:0") == {"nvml": "no_driver: no library"}


def test_the_same_seed_gives_the_same_order(scripted: SimulatedGpu) -> None:
    """Delays, order and sample instants come from the cell's seed, not from the process."""
    random.seed(1)
    first, _ = probe(scripted, trials=2)
    scripted.nvml.reset()
    again = scripted.nvml.add_gpu(idle_w=IDLE_W)
    again.processes(1)
    random.seed(2)
    assert probe(again, trials=2)[0] == first
