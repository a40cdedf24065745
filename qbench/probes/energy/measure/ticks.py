"""The steps of an energy counter, caught in the act.

NVML's counter steps every 20 to 100 ms, RAPL's every millisecond. A window of length T between arbitrary
instants is wrong by up to 2τ/T; one from step to step has the counter's own truth, and what is left is how
long the device idled between a step and the work. A step is caught between two reads, so that its instant is
known as a bracket, whose width follows the polling and whatever else held this process up.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from qbench.probes.energy.measure.meter import Clock, Meter, NoEnergy

POLL_S = 0.001
TICK_TIMEOUT_S = 2.0
"""A counter that stands still for so long does not count."""
CALIBRATION_TICKS = 8


class Tick(NamedTuple):
    """One step of the counter, which fell between two instants."""

    after_s: float
    """Begin of the last read that still gave the old value."""
    by_s: float
    """End of the first read that gave the new value."""
    energy_j: float
    """The new value."""

    @property
    def at_s(self) -> float:
        """The middle of the bracket."""
        return (self.after_s + self.by_s) / 2


def next_tick(meter: Meter, clock: Clock, poll_s: float = POLL_S) -> Tick:
    """Waits for the counter's next step. NoEnergy where none comes, or where the counter falls."""
    start_s = after_s = clock.now_s()
    before_j = meter.energy_j()
    while after_s - start_s < TICK_TIMEOUT_S:
        clock.sleep_s(poll_s)
        asked_s, energy_j = clock.now_s(), meter.energy_j()
        if energy_j < before_j:
            raise NoEnergy(
                "not_supported", f"the counter of {meter.source} fell: was the driver loaded anew?"
            )
        if energy_j > before_j:
            return Tick(after_s, clock.now_s(), energy_j)
        after_s = asked_s
    raise NoEnergy("not_supported", f"the counter of {meter.source} stood still for {TICK_TIMEOUT_S} s")


def calibrate(meter: Meter, clock: Clock) -> list[Tick]:
    """Consecutive steps, `CALIBRATION_TICKS` periods long."""
    return [next_tick(meter, clock) for _ in range(CALIBRATION_TICKS + 1)]


def period_s(ticks: Sequence[Tick]) -> float:
    """τ: median time between consecutive steps."""
    return statistics.median(after.at_s - before.at_s for before, after in itertools.pairwise(ticks))


def read_s(meter: Meter, clock: Clock, reads: int = 9) -> float:
    """Median seconds of one read of the counter."""
    instants = [(clock.now_s(), meter.energy_j(), clock.now_s()) for _ in range(reads)]
    return statistics.median(end_s - start_s for start_s, _, end_s in instants)
