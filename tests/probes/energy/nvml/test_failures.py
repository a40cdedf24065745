"""What a GPU cannot or will not tell: every failure has its reason, and none becomes a number."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from qbench.measure.nvml_binding import uuid_of
from qbench.probes.energy.measure.meter import NoEnergy
from qbench.probes.energy.measure.nvml import NvmlMeter
from qbench.probes.energy.measure.ticks import next_tick
from qbench.probes.energy.measure.trials import abilities
from tests.probes.energy.nvml.library import SimulatedNvml

COUNTER = "nvmlDeviceGetTotalEnergyConsumption"
FIELDS = "nvmlDeviceGetFieldValues"
NOT_SUPPORTED, NO_PERMISSION, NOT_LOADED, NO_LIBRARY, MISMATCH, LOST, UNKNOWN = 3, 4, 9, 12, 18, 15, 999


def reason(nvml: SimulatedNvml, uuid: str = "GPU-0") -> str:
    with pytest.raises(NoEnergy) as caught:
        NvmlMeter(uuid, nvml.pynvml)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize(
    ("function", "error", "expected"),
    [
        ("nvmlInit", NO_LIBRARY, "no_driver"),
        ("nvmlInit", NOT_LOADED, "no_driver"),
        ("nvmlInit", MISMATCH, "no_driver"),
        ("nvmlDeviceGetHandleByUUID", NO_PERMISSION, "no_permission"),
        ("nvmlDeviceGetHandleByUUID", LOST, "not_supported"),
        (COUNTER, NOT_SUPPORTED, "not_supported"),
        (COUNTER, NO_PERMISSION, "no_permission"),
        (COUNTER, UNKNOWN, "not_supported"),
    ],
)
def test_failures_have_their_reason(nvml: SimulatedNvml, function: str, error: int, expected: str) -> None:
    nvml.add_gpu()
    nvml.fail(function, error)
    nvml.fail(FIELDS, NOT_SUPPORTED)
    assert reason(nvml) == expected


def test_no_such_gpu_is_named(nvml: SimulatedNvml) -> None:
    nvml.add_gpu()
    with pytest.raises(NoEnergy, match="nvmlDeviceGetHandleByUUID: Not Found"):
        NvmlMeter("GPU-1", nvml.pynvml)


def test_mig_has_no_energy_but_a_gpu_without_mig_has(nvml: SimulatedNvml) -> None:
    gpu = nvml.add_gpu()
    gpu.facts(mig=1)
    assert reason(nvml) == "mig"
    assert reason(nvml, "MIG-0") == "mig"
    gpu.facts(mig=0)
    nvml.fail("nvmlDeviceGetMigMode", NOT_SUPPORTED)
    assert NvmlMeter("GPU-0", nvml.pynvml).energy_j() > 0


def test_without_a_counter_instant_power_is_integrated_and_named_so(nvml: SimulatedNvml) -> None:
    nvml.add_gpu()
    nvml.fail(COUNTER, NOT_SUPPORTED)
    meter = NvmlMeter("GPU-0", nvml.pynvml)
    assert (meter.source, meter.method) == ("nvml_integrated", "integrated")
    assert meter.facts()["counter_reason"].startswith("not_supported")
    assert abilities(meter, nvml.clock).startswith(
        "instant power of the gpu, now 60 W, integrated; no counter"
    )


def test_a_counter_that_stands_still_or_falls_is_not_supported(nvml: SimulatedNvml) -> None:
    gpu = nvml.add_gpu()
    meter = NvmlMeter("GPU-0", nvml.pynvml)
    gpu.counter(tick_s=1e6)
    with pytest.raises(NoEnergy, match="stood still"):
        next_tick(meter, nvml.clock)
    gpu.counter()
    gpu.load("constant", -60.0, -60.0)
    nvml.clock.sleep_s(1.0)
    with pytest.raises(NoEnergy, match="fell"):
        next_tick(meter, nvml.clock)


def test_a_counter_that_is_lost_on_the_way_says_so(nvml: SimulatedNvml) -> None:
    nvml.add_gpu()
    meter = NvmlMeter("GPU-0", nvml.pynvml)
    nvml.fail(COUNTER, LOST)
    with pytest.raises(NoEnergy, match="GPU is lost"):
        next_tick(meter, nvml.clock)


def test_power_is_asked_for_the_counters_scope(nvml: SimulatedNvml) -> None:
    plain, module = nvml.add_gpu("GPU-0"), nvml.add_gpu("GPU-1", "NVIDIA GH200 480GB")
    for gpu in (plain, module):
        gpu.scopes(gpu=True, module=True, module_w=90)
    meters = [NvmlMeter(gpu.uuid, nvml.pynvml) for gpu in (plain, module)]
    assert [meter.glance().power_w for meter in meters] == [60, 150]
    assert [meter.facts()["scope"] for meter in meters] == ["gpu", "module"]
    plain.scopes(gpu=False, module=True, module_w=90)
    only = NvmlMeter("GPU-0", nvml.pynvml)
    assert (only.facts()["scope"], only.facts()["power_scope"], only.glance().power_w) == (
        "gpu",
        "module",
        150,
    )


def test_a_gpu_is_found_by_uuid_whatever_its_place(nvml: SimulatedNvml) -> None:
    for place, idle_w in enumerate((50.0, 70.0, 90.0)):
        nvml.add_gpu(f"GPU-{9 - place}", idle_w=idle_w)
    found = {uuid: NvmlMeter(uuid, nvml.pynvml).glance().power_w for uuid in ("GPU-7", "GPU-9", "GPU-8")}
    assert found == {"GPU-7": 90, "GPU-9": 50, "GPU-8": 70}


def test_torch_names_a_gpu_without_its_prefix() -> None:
    assert uuid_of(SimpleNamespace(uuid="ab-1", name="NVIDIA H100")) == "GPU-ab-1"
    assert uuid_of(SimpleNamespace(uuid="ab-1", name="NVIDIA H100 MIG 1g.10gb")) == "MIG-ab-1"


def test_state_is_null_where_the_gpu_does_not_know(nvml: SimulatedNvml) -> None:
    gpu = nvml.add_gpu()
    gpu.facts(temperature_c=67, throttle=0x24)
    nvml.fail("nvmlDeviceGetPersistenceMode", NOT_SUPPORTED)
    state = NvmlMeter("GPU-0", nvml.pynvml).state()
    assert (state["temperature_c"], state["power_limit_mw"], state["sm_clock_mhz"]) == (67, 700000, 1980)
    assert state["persistence_mode"] is None
    assert state["throttle"] == 0x24


def test_an_old_driver_tells_throttling_under_its_old_name(nvml: SimulatedNvml) -> None:
    nvml.add_gpu().facts(throttle=0x4)
    nvml.fail("nvmlDeviceGetCurrentClocksEventReasons", NOT_SUPPORTED)
    meter = NvmlMeter("GPU-0", nvml.pynvml)
    assert meter.glance().throttle == 0x4
    nvml.fail("nvmlDeviceGetCurrentClocksThrottleReasons", NOT_SUPPORTED)
    assert meter.glance().throttle is None


@pytest.mark.parametrize(
    ("pids", "listed", "others"),
    [([os.getpid()], True, 0), ([os.getpid(), 7], True, 1), ([7], False, 0), ([7, 8], False, 1)],
)
def test_other_processes_are_counted(nvml: SimulatedNvml, pids: list[int], listed: bool, others: int) -> None:
    """In a container our own process is listed under another number."""
    nvml.add_gpu().processes(*pids)
    state = NvmlMeter("GPU-0", nvml.pynvml).state()
    assert (state["processes"], state["own_process_listed"], state["other_processes"]) == (
        len(pids),
        listed,
        others,
    )


@pytest.mark.parametrize(
    ("pids", "siblings", "ours", "others"),
    [
        ([os.getpid(), 71, 72], [71, 72], 2, 0),
        ([os.getpid(), 71, 9], [71, 72], 1, 1),  # 72 has no context yet, 9 is foreign
        ([os.getpid(), 9], [71], 0, 1),
        ([1001, 1002, 1003], [71], 1, 1),  # a container: the numbers are the host's
        ([1001], [71, 72], 0, 0),
    ],
)
def test_stopped_workers_of_the_same_run_are_no_foreign_processes(
    nvml: SimulatedNvml, pids: list[int], siblings: list[int], ours: int, others: int
) -> None:
    nvml.add_gpu().processes(*pids)
    state = NvmlMeter("GPU-0", nvml.pynvml).state(siblings)
    assert (state["sibling_processes"], state["other_processes"]) == (ours, others)


def test_an_empty_list_of_processes_tells_nothing(nvml: SimulatedNvml) -> None:
    nvml.add_gpu()
    assert NvmlMeter("GPU-0", nvml.pynvml).state()["other_processes"] is None
