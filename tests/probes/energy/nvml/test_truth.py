"""Measured energy against the closed-form integral of a scripted power curve, and the bound stated for it."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from qbench.probes.energy.measure.meter import Clock
from qbench.probes.energy.measure.nvml import NvmlMeter
from qbench.probes.energy.measure.ticks import calibrate, next_tick, period_s
from qbench.results.stats.bootstrap import student_quantile
from tests.probes.energy.nvml.library import SimulatedGpu, SimulatedNvml
from tests.probes.energy.nvml.loads import Load, Measured, calibration, run

SECONDS = (0.5, 1.0, 2.0, 5.0, 20.0)
STEADY: Load = ("constant", 300.0, 300.0, 1.0, 1.0)
BURSTS: list[Load] = [
    ("burst", 80.0, 400.0, period_s, duty)
    for period_s in (0.005, 0.02, 0.05, 0.1, 0.2)
    for duty in (0.1, 0.5, 0.9)
]


def test_the_truth_is_the_integral_of_the_curve(nvml: SimulatedNvml) -> None:
    """Every shape after the other, against a sum of 100,000 slices."""
    gpu, start_s = nvml.add_gpu(), nvml.clock.now_s()
    for load in (STEADY, ("burst", 80.0, 400.0, 0.037, 0.3), ("ramp", 100.0, 400.0, 0.6, 1.0)):
        gpu.load(*load)
        nvml.clock.sleep_s(1.0)
    gpu.rest(decay_s=0.2, from_w=400.0)
    nvml.clock.sleep_s(1.0)
    slices, seconds = 100_000, nvml.clock.now_s() - start_s
    instants = (start_s + seconds * (number + 0.5) / slices for number in range(slices))
    summed_j = math.fsum(gpu.power_w(at_s) for at_s in instants) * seconds / slices
    assert gpu.true_j(start_s + seconds) - gpu.true_j(start_s) == pytest.approx(summed_j, rel=5e-4)


@pytest.mark.parametrize("tau_s", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("jitter", [0.0, 0.3])
def test_the_period_is_found(nvml: SimulatedNvml, tau_s: float, jitter: float) -> None:
    gpu = nvml.add_gpu()
    gpu.counter(tau_s, jitter)
    ticks = calibrate(NvmlMeter(gpu.uuid, nvml.pynvml), nvml.clock)
    assert period_s(ticks) == pytest.approx(tau_s, abs=0.0015 + jitter * tau_s / 2)


def test_a_step_lies_in_its_bracket(nvml: SimulatedNvml) -> None:
    gpu = nvml.add_gpu()
    meter = NvmlMeter(gpu.uuid, nvml.pynvml)
    for offset_s in (0.013, 0.05, 0.091):
        nvml.clock.sleep_s(offset_s)
        tick = next_tick(meter, nvml.clock)
        step_s = round(tick.by_s / 0.1) * 0.1
        assert tick.after_s <= step_s <= tick.by_s
        assert tick.by_s - tick.after_s < 0.0015
        assert tick.energy_j == pytest.approx(gpu.true_j(step_s), abs=0.0011)


@pytest.mark.parametrize(("lag_s", "jitter"), [(0.0, 0.0), (0.13, 0.0), (0.05, 0.4)])
@pytest.mark.parametrize("seconds", SECONDS)
def test_an_aligned_window_is_within_one_percent(
    nvml: SimulatedNvml, seconds: float, lag_s: float, jitter: float
) -> None:
    """Also where the counter shows energy late, and where its steps stray."""
    gpu = nvml.add_gpu()
    gpu.counter(lag_s=lag_s, jitter=jitter)
    meter = NvmlMeter(gpu.uuid, nvml.pynvml)
    drawn = random.Random(0)
    for load in (STEADY, *BURSTS, ("ramp", 100.0, 400.0, seconds, 1.0)):
        measured = run(gpu, meter, load, seconds, delay_s=drawn.random() * 0.1)
        assert abs(measured.error) < 0.01, load
        assert abs(measured.found.energy_j - measured.true_j) <= (measured.found.bound_j or 0), load


@pytest.mark.parametrize("seconds", [0.5, 1.0, 5.0])
def test_unaligned_reads_err_by_what_the_field_says(nvml: SimulatedNvml, seconds: float) -> None:
    """What alignment is for: reads at any instants miss by up to 2τ/T, more than 1% up to 5 s."""
    gpu = nvml.add_gpu()
    meter = NvmlMeter(gpu.uuid, nvml.pynvml)
    errors = []
    for offset_s in (0.01, 0.03, 0.05, 0.07, 0.09):
        next_tick(meter, nvml.clock)
        nvml.clock.sleep_s(offset_s)
        before_j = meter.energy_j()
        gpu.load(*STEADY)
        nvml.clock.sleep_s(seconds + 0.057)
        errors.append(abs((meter.energy_j() - before_j) / (300 * (seconds + 0.057)) - 1))
        gpu.rest()
    assert 0.01 < max(errors) <= 2 * 0.1 / seconds


class StallingClock(Clock):
    """Sleeps too long, as a busy machine does: by 0.1 ms on average, and now and then by up to 150 ms."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self._clock, self._random = clock, random.Random(seed)

    def now_s(self) -> float:
        return self._clock.now_s()

    def sleep_s(self, seconds: float) -> None:
        late_s = (
            self._random.expovariate(1e4) + (self._random.random() < 0.002) * 0.15 * self._random.random()
        )
        self._clock.sleep_s(seconds + late_s)


def trial(nvml: SimulatedNvml, number: int) -> Measured:
    """A counter, a machine and a load drawn at random."""
    drawn = random.Random(number)
    nvml.reset(call_s=10 ** drawn.uniform(-5, -3))
    gpu = nvml.add_gpu(idle_w=drawn.uniform(30, 120))
    tau_s = drawn.uniform(0.02, 0.1)
    lag_s = drawn.choice([0.0, drawn.uniform(0, 1.5 * tau_s)])
    gpu.counter(tau_s, drawn.uniform(0, 0.5), drawn.choice([1, 1, 10, 100, 1000]), lag_s)
    meter, clock = NvmlMeter(gpu.uuid, nvml.pynvml), StallingClock(nvml.clock, number)
    seconds = drawn.choice([0.5, 1.0, 2.0, 5.0, 5.0, 10.0, 20.0])
    low_w, high_w = drawn.uniform(130, 300), drawn.uniform(300, 700)
    load: Load = drawn.choice(
        [
            ("constant", high_w, high_w, 1.0, 1.0),
            ("burst", low_w, high_w, drawn.uniform(0.005, 0.2), drawn.uniform(0.1, 0.9)),
            ("ramp", low_w, high_w, seconds, 1.0),
        ]
    )
    decay_s = drawn.choice([0.0, drawn.uniform(0.01, 1.0)])
    return run(
        gpu,
        meter,
        load,
        seconds,
        delay_s=drawn.random() * tau_s,
        decay_s=decay_s,
        clock=clock,
        calibration=calibration(meter, clock),
    )


def test_the_stated_bound_holds_in_99_of_100_trials(nvml: SimulatedNvml) -> None:
    trials = [trial(nvml, number) for number in range(1000)]
    held = [abs(one.found.energy_j - one.true_j) <= (one.found.bound_j or 0) for one in trials]
    assert sum(held) >= 990
    stated = [(one.found.bound_j or math.inf) / one.true_j for one in trials if one.found.seconds >= 5]
    assert statistics.median(stated) < 0.015  # a bound that is always huge would hold too


def test_the_bound_of_integrated_power_holds_too(nvml: SimulatedNvml) -> None:
    """Where there is no counter; the sensor always looks."""
    held, stated = [], []
    for number in range(300):
        drawn = random.Random(number)
        nvml.reset()
        gpu = nvml.add_gpu()
        nvml.fail("nvmlDeviceGetTotalEnergyConsumption", 3)
        meter = NvmlMeter(gpu.uuid, nvml.pynvml)
        loads: list[Load] = [
            STEADY,
            ("burst", 80.0, 400.0, drawn.uniform(0.005, 0.2), drawn.uniform(0.1, 0.9)),
            ("ramp", 100.0, 400.0, 5.0, 1.0),
        ]
        nvml.clock.sleep_s(drawn.random())
        measured = run(gpu, meter, drawn.choice(loads), 5.0)
        held.append(abs(measured.found.energy_j - measured.true_j) <= (measured.found.bound_j or 0))
        stated.append((measured.found.bound_j or math.inf) / measured.true_j)
    assert statistics.fmean(held) >= 0.99
    assert statistics.median(stated) < 0.25


def test_the_bound_shrinks_with_the_window(nvml: SimulatedNvml) -> None:
    gpu = nvml.add_gpu()
    gpu.counter(0.05)
    meter = NvmlMeter(gpu.uuid, nvml.pynvml)
    bounds = [
        (run(gpu, meter, STEADY, seconds).found.bound_j or 0) / seconds for seconds in (1.05, 5.05, 20.05)
    ]
    assert bounds[0] > 3 * bounds[1] > 9 * bounds[2]


def test_instant_power_agrees_with_the_counter(nvml: SimulatedNvml) -> None:
    """The cross-check: within 2% over 5 s, for a sensor that always looks. Bursts longer than its period
    scatter."""
    gpu = nvml.add_gpu()
    meter = NvmlMeter(gpu.uuid, nvml.pynvml)
    for load in (STEADY, *BURSTS):
        found = run(gpu, meter, load, 5.0).found
        within = 0.1 if load[0] == "burst" and load[3] > 0.1 else 0.02
        assert found.integrated_j == pytest.approx(found.energy_j, rel=within), load


def test_a_one_second_average_would_miss_a_short_window(nvml: SimulatedNvml) -> None:
    """Why `nvmlDeviceGetPowerUsage` is not what we integrate."""
    gpu = nvml.add_gpu()
    meter = NvmlMeter(gpu.uuid, nvml.pynvml)
    gpu.load(*STEADY)
    nvml.clock.sleep_s(0.5)
    averaged_w = nvml.pynvml.nvmlDeviceGetPowerUsage(meter.gpu._handle) / 1000
    assert averaged_w == pytest.approx((300 + 60) / 2, rel=0.01)
    assert meter.glance().power_w == pytest.approx(300, rel=1e-4)


def locked(nvml: SimulatedNvml, gpu: SimulatedGpu, meter: NvmlMeter, seed: int) -> list[float]:
    """Errors of three trials, as the probe delays them, of bursts that keep step with the sensor."""
    drawn = random.Random(seed)
    places = [0, 1, 2]
    drawn.shuffle(places)
    load: Load = ("burst", 80.0, 400.0, 0.1, 0.5)
    return [run(gpu, meter, load, 5.0, delay_s=(place + drawn.random()) / 3 * 0.1).error for place in places]


def test_a_sensor_that_looks_at_a_quarter(nvml: SimulatedNvml) -> None:
    """Steady loads lose nothing. Bursts in step with the sensor err in one window, less in the mean of three
    that begin at different phases, and the interval between trials says so."""
    gpu = nvml.add_gpu()
    gpu.sensor(0.1, duty=0.25)
    meter = NvmlMeter(gpu.uuid, nvml.pynvml)
    assert abs(run(gpu, meter, STEADY, 5.0, delay_s=0.04).error) < 0.01
    groups = [locked(nvml, gpu, meter, seed) for seed in range(40)]
    single = statistics.fmean(abs(error) for group in groups for error in group)
    together = statistics.fmean(abs(statistics.fmean(group)) for group in groups)
    assert single > 0.2
    assert together < single / 2
    covered = [abs(statistics.fmean(group)) <= half_width(group) for group in groups]
    assert statistics.fmean(covered) >= 0.95


def half_width(values: list[float]) -> float:
    count = len(values)
    return student_quantile(0.975, count - 1) * statistics.stdev(values) / math.sqrt(count)
