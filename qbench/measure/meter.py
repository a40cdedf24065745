"""`Meter`: what NVML and RAPL have in common, and why there may be none.

A meter counts joules since some moment in the past. The counter steps: NVML's every 20 to 100 ms, so that a
window of length T read at arbitrary instants is wrong by up to 2τ/T. `tick` waits for a step; a window from
tick to tick is wrong by the polling interval only.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

Reason = Literal["no_driver", "not_supported", "no_permission", "mig", "window_too_short"]

POLL_S = 0.001
TICK_TIMEOUT_S = 2.0
"""A counter that stands still for so long does not count."""
CALIBRATION_TICKS = 8


class NoEnergy(Exception):
    """No energy can be measured; `reason` is for machines, `detail` for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


class Meter(Protocol):
    source: str
    """`nvml_counter` or `rapl`."""

    def energy_j(self) -> float:
        """Joules since a fixed moment; grows, in steps. Raises NoEnergy."""

    def power_w(self) -> float | None:
        """Power at this instant, independent of the counter; None where the source has none."""

    def state(self) -> dict[str, Any]:
        """What may explain a figure: temperature, limits, throttling, other processes; JSON values."""


class Clock:
    """Time as the meters use it; tests put a scripted one in its place."""

    def now_s(self) -> float:
        return time.perf_counter()

    def sleep_s(self, seconds: float) -> None:
        time.sleep(seconds)


def tick(meter: Meter, clock: Clock, poll_s: float = POLL_S) -> tuple[float, float]:
    """Waits for the counter's next step: (instant, joules) right after it. NoEnergy where none comes."""
    before, start_s = meter.energy_j(), clock.now_s()
    while (now_s := clock.now_s()) - start_s < TICK_TIMEOUT_S:
        if (energy_j := meter.energy_j()) != before:
            return now_s, energy_j
        clock.sleep_s(poll_s)
    raise NoEnergy("not_supported", f"the counter of {meter.source} stood still for {TICK_TIMEOUT_S} s")


def period_s(meter: Meter, clock: Clock) -> float:
    """τ: median time between steps of the counter."""
    instants = [tick(meter, clock)[0] for _ in range(CALIBRATION_TICKS + 1)]
    return statistics.median(after - before for before, after in itertools.pairwise(instants))


class Window:
    """One aligned window: `work` in a loop from tick to tick, with instant power read between iterations."""

    SAMPLE_S = 0.1
    """Reading power more often than every 50 ms raises it."""

    def __init__(self, meter: Meter, clock: Clock, settle: Callable[[], None] = lambda: None) -> None:
        """`settle` waits until the device has done what `work` asked of it; power is read before that."""
        self._meter, self._clock, self._settle = meter, clock, settle

    def run(self, work: Callable[[], None], iterations: int) -> dict[str, float | None]:
        """`gross_j`, `window_s`, `instant_j`, and `tail_s`: the idle wait for the closing tick."""
        meter, clock = self._meter, self._clock
        start_s, start_j = tick(meter, clock)
        samples = [(start_s, meter.power_w())]
        for _ in range(iterations):
            work()
            if clock.now_s() - samples[-1][0] >= self.SAMPLE_S:
                samples.append((clock.now_s(), meter.power_w()))
            self._settle()
        done_s = clock.now_s()
        end_s, end_j = tick(meter, clock)
        samples.append((end_s, meter.power_w()))
        return {
            "gross_j": end_j - start_j,
            "window_s": end_s - start_s,
            "tail_s": end_s - done_s,
            "instant_j": integral(samples),
        }


def integral(samples: list[tuple[float, float | None]]) -> float | None:
    """Joules under a line through (seconds, watts); None where a reading is missing."""
    total_j = 0.0
    for (before_s, before_w), (after_s, after_w) in itertools.pairwise(samples):
        if before_w is None or after_w is None:
            return None
        total_j += (after_s - before_s) * (before_w + after_w) / 2
    return total_j
