"""What a GPU's energy counter and sensors are worth: a table, on a real GPU or (`--simulated`) on ours.

    python -m tests.probes.energy.nvml.survey [--simulated] [--seconds 0.5 2 5] [--trials 2] [--loads steady]

By load and window: mean power of the work by the aligned counter, and its bound; against it, in %, the
integrated instant power (field 186), the integrated `nvmlDeviceGetPowerUsage`, and the counter read at any
two instants (of which the greatest error is shown; of the others the median). As above, with all loads, it
takes some ten minutes.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from qbench.measure.nvml_binding import bindings, uuid_of
from qbench.probes.energy.measure.meter import Clock, Glance
from qbench.probes.energy.measure.nvml import NvmlMeter
from qbench.probes.energy.measure.ticks import calibrate, period_s
from qbench.probes.energy.measure.trials import abilities
from qbench.probes.energy.measure.window import Look, Window
from qbench.probes.energy.windows import Worked, worked
from tests.probes.energy.nvml.library import simulated
from tests.probes.energy.nvml.loads import sample_of

Busy = Callable[[float, Look], None]
"""Keeps the device busy for about so many seconds, looking every some milliseconds."""
SLICE_S = 0.01
BURSTS = [(period, duty) for period in (0.005, 0.05, 0.2) for duty in (0.1, 0.5, 0.9)]
LOADS = {
    "steady": (0.01, 1.0),
    **{f"{duty:.0%} of {period * 1e3:g} ms": (period, duty) for period, duty in BURSTS},
}
"""Name → period in seconds, and the share of it that is busy."""


class Device(NamedTuple):
    uuid: str
    library: Any
    clock: Clock
    busy: Busy


class Averaged(NvmlMeter):
    """Reads `nvmlDeviceGetPowerUsage` where the probe reads instant power."""

    def glance(self) -> Glance:
        return Glance(self.gpu.call("nvmlDeviceGetPowerUsage") / 1000, None)


@contextmanager
def simulated_device() -> Iterator[Device]:
    with simulated() as nvml:
        gpu = nvml.add_gpu()

        def busy(seconds: float, look: Look) -> None:
            gpu.load("constant", 300.0, 300.0)
            rest(nvml.clock, seconds, look)
            gpu.rest()

        yield Device(gpu.uuid, nvml.pynvml, nvml.clock, busy)


@contextmanager
def cuda_device() -> Iterator[Device]:
    import torch

    clock, a = Clock(), torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)

    def busy(seconds: float, look: Look) -> None:
        end_s = clock.now_s() + seconds
        while clock.now_s() < end_s:
            torch.mm(a, a)
            torch.cuda.synchronize()
            look()

    busy(3.0, lambda: None)  # warm
    yield Device(uuid_of(torch.cuda.get_device_properties(0)), bindings(), clock, busy)


def loop(device: Device, load: str, seconds: float) -> Callable[[Look], None]:
    """The load for so long, looked at after each of its periods."""
    period, duty = LOADS[load]

    def work(look: Look) -> None:
        for _ in range(max(round(seconds / period), 1)):
            device.busy(period * duty, look)
            rest(device.clock, period * (1 - duty), look)

    return work


def rest(clock: Clock, seconds: float, look: Look) -> None:
    """Sleeps in slices."""
    end_s = clock.now_s() + seconds
    while (left_s := end_s - clock.now_s()) > 0:
        clock.sleep_s(min(left_s, SLICE_S))
        look()


def window(device: Device, meter: NvmlMeter, load: str, seconds: float, delay_s: float) -> Worked:
    found = Window(meter, device.clock, length_s=seconds).run(loop(device, load, seconds), 1, delay_s)
    return worked(sample_of(meter, found, None), "decode")[0]


def unaligned_w(device: Device, meter: NvmlMeter, load: str, seconds: float, delay_s: float) -> float:
    """Mean power of the load by the counter, read when the work begins and when it ends."""
    rest(device.clock, 0.5 + delay_s, lambda: None)
    before_j, start_s = meter.energy_j(), device.clock.now_s()
    loop(device, load, seconds)(lambda: None)
    return (meter.energy_j() - before_j) / (device.clock.now_s() - start_s)


def row(device: Device, load: str, seconds: float, trials: int) -> dict[str, float]:
    """One line of the table: medians over the trials."""
    meter, averaged = NvmlMeter(device.uuid, device.library), Averaged(device.uuid, device.library)
    tau_s = period_s(calibrate(meter, device.clock))
    delays = [(place + 0.3) / trials * tau_s for place in range(trials)]
    seconds += 0.37 * tau_s  # no multiple of the period
    found = [window(device, meter, load, seconds, delay_s) for delay_s in delays]
    usage = [window(device, averaged, load, seconds, delay_s) for delay_s in delays]
    watts = statistics.median(one.energy_j / one.seconds for one in found)
    loose = [unaligned_w(device, meter, load, seconds, delay_s) for delay_s in delays]
    return {
        "work_w": watts,
        "bound_pct": statistics.median(100 * (one.bound_j or 0) / one.energy_j for one in found),
        "instant_pct": statistics.median(residual(one) for one in found),
        "usage_pct": statistics.median(residual(one) for one in usage),
        "unaligned_pct": max((100 * (one / watts - 1) for one in loose), key=abs),
    }


def residual(one: Worked) -> float:
    """Integrated over counted less one, in %; NaN for fewer than two samples."""
    return float("nan") if one.integrated_j is None else 100 * (one.integrated_j / one.energy_j - 1)


def survey(device: Device, loads: list[str], seconds: list[float], trials: int) -> Iterator[str]:
    """The lines of the table, in Markdown."""
    yield abilities(NvmlMeter(device.uuid, device.library), device.clock)
    yield "\n| load | window s | W | bound % | instant % | PowerUsage % | unaligned % |"
    yield "|---|---|---|---|---|---|---|"
    for load in loads:
        for length_s in seconds:
            cells = " | ".join(f"{value:.2f}" for value in row(device, load, length_s, trials).values())
            yield f"| {load} | {length_s:g} | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--seconds", type=float, nargs="+", default=[0.5, 2, 5])
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--loads", nargs="+", choices=list(LOADS), default=list(LOADS))
    asked = parser.parse_args()
    with simulated_device() if asked.simulated else cuda_device() as device:
        for line in survey(device, asked.loads, asked.seconds, asked.trials):
            print(line, flush=True)


if __name__ == "__main__":
    main()
