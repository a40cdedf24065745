"""Energy on simulated counters whose truth is known: a power curve, read in steps of τ."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qbench.measure import energy
from qbench.measure.meter import NoEnergy, Window, integral, period_s, tick
from qbench.measure.nvml import NvmlMeter, uuid_of
from qbench.measure.rapl import RaplMeter
from tests.measure.conftest import bench_of, tiny_llama


class FakeClock:
    """Time that passes only when someone sleeps or works; each look costs 10 µs."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def now_s(self) -> float:
        self.time_s += 1e-5
        return self.time_s

    def sleep_s(self, seconds: float) -> None:
        self.time_s += seconds


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class FakeNvml:
    """A pynvml whose GPU draws 300 W while busy, 60 W idle, and counts in steps of τ."""

    NVMLError = NVMLError
    NVML_SUCCESS = 0
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_NO_PERMISSION = 4
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_DEVICE_MIG_ENABLE = 1
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1

    def __init__(self, clock: FakeClock, tau_s: float = 0.1, fails: dict[str, int] | None = None) -> None:
        self.clock, self.tau_s, self.fails = clock, tau_s, fails or {}
        self.busy: list[tuple[float, float]] = []
        self.mig = 0
        self.found_by: str | None = None

    def work(self, seconds: float) -> None:
        start_s = self.clock.time_s
        self.clock.sleep_s(seconds)
        self.busy.append((start_s, self.clock.time_s))

    def true_j(self, until_s: float) -> float:
        busy_s = sum(max(0.0, min(end_s, until_s) - start_s) for start_s, end_s in self.busy)
        return 60 * until_s + 240 * busy_s

    def _answer(self, name: str, value: Any) -> Any:
        if name in self.fails:
            raise NVMLError(self.fails[name])
        return value

    def nvmlInit(self) -> None:
        self._answer("nvmlInit", None)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self.found_by = uuid
        return "handle"

    def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:
        return [self._answer("nvmlDeviceGetMigMode", self.mig), 0]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        stepped_s = self.clock.time_s // self.tau_s * self.tau_s
        value = round(self.true_j(stepped_s) * 1000)
        return int(self._answer("nvmlDeviceGetTotalEnergyConsumption", value))

    def nvmlDeviceGetFieldValues(self, handle: str, fields: list[int]) -> list[Any]:
        assert fields == [186]
        now_s = self.clock.time_s - 1e-3  # the sensor lags
        watts = 300 if any(start_s <= now_s <= end_s for start_s, end_s in self.busy) else 60
        return [SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=watts * 1000))]

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        return 41

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[int]:
        return [1, 2]

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: str) -> int:
        return 700000

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        return 0

    def nvmlDeviceGetPersistenceMode(self, handle: str) -> int:
        raise NVMLError(3)

    def nvmlDeviceGetClockInfo(self, handle: str, clock: int) -> int:
        return 1980


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.mark.parametrize("tau_s", [0.02, 0.1])
def test_the_period_is_found(clock: FakeClock, tau_s: float) -> None:
    meter = NvmlMeter("GPU-1", FakeNvml(clock, tau_s))
    assert period_s(meter, clock) == pytest.approx(tau_s, abs=0.0015)


def test_a_tick_lies_right_after_a_step(clock: FakeClock) -> None:
    meter = NvmlMeter("GPU-1", FakeNvml(clock, 0.1))
    for offset_s in (0.013, 0.05, 0.091):
        clock.sleep_s(offset_s)
        instant_s, _ = tick(meter, clock)
        assert instant_s % 0.1 < 0.0015


def test_a_counter_that_stands_still_is_not_supported(clock: FakeClock) -> None:
    with pytest.raises(NoEnergy) as caught:
        tick(NvmlMeter("GPU-1", FakeNvml(clock, 1e9)), clock)
    assert caught.value.reason == "not_supported"


@pytest.mark.parametrize("seconds", [0.5, 1.03, 5.0])
@pytest.mark.parametrize("offset_s", [0.0, 0.037, 0.08])
def test_an_aligned_window_has_the_true_energy(clock: FakeClock, seconds: float, offset_s: float) -> None:
    nvml = FakeNvml(clock, 0.1)
    meter = NvmlMeter("GPU-1", nvml)
    clock.sleep_s(offset_s)
    window = Window(meter, clock).run(lambda: nvml.work(seconds / 20), 20)
    tail_s, gross_j, window_s = window["tail_s"], window["gross_j"], window["window_s"]
    assert tail_s is not None
    assert window_s == pytest.approx(seconds + tail_s, abs=0.003)
    assert gross_j == pytest.approx(300 * seconds + 60 * tail_s, rel=0.01)


def test_an_unaligned_reading_would_be_wrong(clock: FakeClock) -> None:
    """What alignment is for: the same window between arbitrary instants misses by more than 5%."""
    nvml = FakeNvml(clock, 0.1)
    meter = NvmlMeter("GPU-1", nvml)
    clock.sleep_s(0.05 - clock.time_s % 0.1)
    before_j = meter.energy_j()
    nvml.work(0.52)
    assert abs(meter.energy_j() - before_j - 300 * 0.52) / (300 * 0.52) > 0.05


def test_integral_is_a_trapezoid_and_null_with_a_missing_reading() -> None:
    assert integral([(0.0, 10.0), (2.0, 30.0), (3.0, 30.0)]) == 40 + 30
    assert integral([(0.0, 10.0), (2.0, None)]) is None


@pytest.mark.parametrize(
    ("call", "code", "reason"),
    [
        ("nvmlInit", 12, "no_driver"),
        ("nvmlInit", 9, "no_driver"),
        ("nvmlDeviceGetTotalEnergyConsumption", 3, "not_supported"),
        ("nvmlDeviceGetTotalEnergyConsumption", 4, "no_permission"),
        ("nvmlDeviceGetTotalEnergyConsumption", 999, "not_supported"),
    ],
)
def test_failures_have_their_reason(clock: FakeClock, call: str, code: int, reason: str) -> None:
    with pytest.raises(NoEnergy) as caught:
        NvmlMeter("GPU-1", FakeNvml(clock, fails={call: code}))
    assert caught.value.reason == reason


def test_mig_has_no_energy_but_a_gpu_without_mig_has(clock: FakeClock) -> None:
    nvml = FakeNvml(clock)
    nvml.mig = 1
    for uuid, library in (("GPU-1", nvml), ("MIG-1", FakeNvml(clock))):
        with pytest.raises(NoEnergy) as caught:
            NvmlMeter(uuid, library)
        assert caught.value.reason == "mig"
    assert NvmlMeter("GPU-1", FakeNvml(clock, fails={"nvmlDeviceGetMigMode": 3})).energy_j() > 0


def test_a_device_is_found_by_uuid() -> None:
    assert uuid_of(SimpleNamespace(uuid="ab-1", name="NVIDIA H100")) == "GPU-ab-1"
    assert uuid_of(SimpleNamespace(uuid="ab-1", name="NVIDIA H100 MIG 1g.10gb")) == "MIG-ab-1"


def test_state_is_null_where_the_gpu_does_not_know(clock: FakeClock) -> None:
    state = NvmlMeter("GPU-1", FakeNvml(clock)).state()
    assert state["temperature_c"] == 41
    assert state["power_limit_mw"] == 700000
    assert state["persistence_mode"] is None
    assert state["processes"] == 2


def energy_bench(**changes: float) -> Any:
    latency = {"prompt_lengths": [16], "batch_sizes": [2], "generated_tokens": 5, "repetitions": 1}
    return bench_of(tiny_llama(), latency=latency, energy={"min_window_s": 2.0, "trials": 3, **changes})


def test_the_probe_gives_joules_per_token(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every prefill takes 50 ms and every decode step 10 ms at 300 W, on the simulated clock."""
    nvml = FakeNvml(clock, 0.02)
    monkeypatch.setattr(
        energy.Generation, "prefill", lambda self: (nvml.work(0.05), setattr(self, "token", 1))
    )
    monkeypatch.setattr(energy.Generation, "step", lambda self: nvml.work(0.01))
    monkeypatch.setattr(energy.Generation, "rewind", lambda self, tokens: None)
    sample = energy.measure_with(NvmlMeter("GPU-1", nvml), clock, energy_bench())
    assert sample["source"] == "nvml_counter"
    for part, truth_j in (("prefill", 300 * 0.05 / 32), ("decode", 300 * 0.01 / 2)):
        found = sample[part]
        assert len(found["gross_j"]) == len(found["window_s"]) == 3
        assert all(2.0 <= seconds < 2.6 for seconds in found["window_s"])
        assert [joules / found["tokens"] for joules in found["gross_j"]] == pytest.approx(
            [truth_j] * 3, rel=0.01
        )
        assert found["idle_w"] == pytest.approx(60, rel=0.01)
        for gross_j, instant_j in zip(found["gross_j"], found["instant_j"], strict=True):
            assert instant_j == pytest.approx(gross_j, rel=0.05)


def test_the_probe_runs_the_real_model(clock: FakeClock) -> None:
    nvml = FakeNvml(clock, 0.02)
    bench = energy_bench(min_window_s=0.5, trials=1)
    forward = bench.model.forward

    def slow_forward(*args: Any, **kwargs: Any) -> Any:
        nvml.work(0.05)
        return forward(*args, **kwargs)

    bench.model.forward = slow_forward
    sample = energy.measure_with(NvmlMeter("GPU-1", nvml), clock, bench)
    assert sample["prefill"]["tokens"] == sample["prefill"]["iterations"] * 32
    assert sample["decode"]["tokens"] == sample["decode"]["iterations"] * 8


def test_a_window_too_short_for_the_counter_is_null_with_its_reason(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "open_meter", lambda device: NvmlMeter("GPU-1", FakeNvml(clock, 0.1)))
    monkeypatch.setattr(energy, "Clock", lambda: clock)
    sample = energy.measure(energy_bench(min_window_s=0.3))
    assert (sample["value"], sample["reason"], sample["unit"]) == (None, "window_too_short", "J")


def package(root: Path, number: int, energy_uj: int, range_uj: int, name: str | None = None) -> Path:
    folder = root / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name or f'package-{number}'}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return folder


def test_rapl_adds_packages_leaves_psys_and_subdomains_out_and_wraps(tmp_path: Path) -> None:
    first = package(tmp_path, 0, 9_000_000, 10_000_000)
    second = package(tmp_path, 1, 1_000_000, 10_000_000)
    psys = package(tmp_path, 2, 0, 10_000_000, name="psys")
    core = tmp_path / "intel-rapl:0:0"
    core.mkdir()
    meter = RaplMeter(tmp_path)
    assert meter.energy_j() == 0
    (first / "energy_uj").write_text("500000")
    (second / "energy_uj").write_text("3000000")
    (psys / "energy_uj").write_text("7000000")
    assert meter.energy_j() == pytest.approx(1.5 + 2.0)
    (first / "energy_uj").write_text("700000")
    assert meter.energy_j() == pytest.approx(3.7)


def test_rapl_without_packages_or_permission_has_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoEnergy) as caught:
        RaplMeter(tmp_path)
    assert caught.value.reason == "no_driver"
    folder = package(tmp_path, 0, 1, 10)
    (folder / "energy_uj").chmod(0)
    if os.geteuid() == 0:  # root reads every file: let the read itself refuse
        real = Path.read_text

        def refuse(self: Path, *args: Any, **kwargs: Any) -> str:
            if self.name == "energy_uj":
                raise PermissionError(13, "Permission denied")
            return real(self, *args, **kwargs)

        monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(NoEnergy) as caught:
        RaplMeter(tmp_path)
    assert caught.value.reason == "no_permission"
