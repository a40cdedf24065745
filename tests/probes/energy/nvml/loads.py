"""Loads for a simulated GPU, measured as the probe measures them, with the truth beside them."""

from __future__ import annotations

from typing import Any, NamedTuple

from qbench.probes.energy.measure.meter import Clock, Meter
from qbench.probes.energy.measure.ticks import calibrate
from qbench.probes.energy.measure.window import Look, Window
from qbench.probes.energy.windows import Worked, worked
from tests.probes.energy.nvml.library import SimulatedGpu

Load = tuple[str, float, float, float, float]
"""Shape, low W, high W, period s, duty; see curve.h."""


class Measured(NamedTuple):
    found: Worked
    true_j: float
    """Of the work alone, in closed form."""

    @property
    def error(self) -> float:
        return self.found.energy_j / self.true_j - 1


def run(
    gpu: SimulatedGpu,
    meter: Meter,
    load: Load,
    seconds: float,
    *,
    delay_s: float = 0.0,
    decay_s: float = 0.0,
    clock: Clock | None = None,
    calibration: list[list[float]] | None = None,
) -> Measured:
    """One window of `seconds` of this load, in steps of at most 10 ms; then rest, sinking with `decay_s`."""
    clock = clock or gpu.nvml.clock
    span: list[float] = []
    steps = max(round(seconds / 0.01), 1)

    def work(look: Look) -> None:
        span.append(gpu.nvml.clock.now_s())
        gpu.load(*load)
        for _ in range(steps):
            gpu.nvml.clock.sleep_s(seconds / steps)
            look()
        gpu.rest(decay_s, load[2])
        span.append(gpu.nvml.clock.now_s())

    window = Window(meter, clock, length_s=seconds).run(work, 1, delay_s)
    true_j = gpu.true_j(span[1]) - gpu.true_j(span[0])
    return Measured(worked(sample_of(meter, window, calibration), "decode")[0], true_j)


def sample_of(meter: Meter, window: dict[str, Any], calibration: list[list[float]] | None) -> dict[str, Any]:
    """A probe's sample of this one window."""
    return {
        "method": meter.method,
        **meter.facts(),
        "calibration": calibration or [],
        "decode": {key: [value] for key, value in window.items()},
    }


def calibration(meter: Meter, clock: Clock) -> list[list[float]]:
    return [list(tick) for tick in calibrate(meter, clock)]
