"""`Window`: the work in a loop, with the counter's steps at both edges and power samples in between.

    steps · · ─ · delay ─ work ─ · ─ · ─ · ─ ·
      before └──┘└ lead ┘       └─ tail ─┘└──┘ after

The device stands still before and after the work. What it draws then is measured right there, from step to
step, so that lead and tail can be taken off the difference between the steps that enclose them. A counter may
show energy late (in published figures, windows of 0.5 s that begin and end anywhere read a quarter too low,
which is a tenth of a second): so `GUARD_TICKS` steps pass before `before` and within the tail. The delay is
there to begin trials at different phases of the sensor: on A100 and H100 it looks at a quarter of the time
only (arXiv 2312.02741), and work that always began on a step would always show it the same quarter.

No thread samples anything: whatever runs the work calls `look` between its steps, which reads power at most
every `SAMPLE_S` and says what that cost. Nothing is computed here but differences;
`qbench.probes.energy.metrics` turns these samples into joules and their error bound.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from qbench.json_object import JsonObject
from qbench.probes.energy.measure.meter import Clock, Meter
from qbench.probes.energy.measure.ticks import Tick, next_tick

GUARD_TICKS = 2
"""Steps at rest in which energy may still arrive."""
SAMPLE_S = 0.1
"""Least time between samples; reading power more often than every 50 ms raises it."""
STALE_S = 0.2
"""No sample in the first moments: the sensor, read out every 100 ms, would still show the rest before."""
MOST_SAMPLES = 200
"""About so many samples a window, however long it is."""

Look = Callable[[], None]
Work = Callable[[Look], None]
"""One iteration; it calls what it is given between its steps."""


class Sampler:
    """Power and throttling, read between steps of the work, at instants that no periodic load can follow."""

    def __init__(self, meter: Meter, clock: Clock, every_s: float, seed: int) -> None:
        self._meter, self._clock, self._every_s = meter, clock, every_s
        self._random = random.Random(seed)
        self.start_s = clock.now_s()
        self._next_s = self.start_s + max(every_s, STALE_S)
        self.power_s: list[float] = []
        """Seconds since the work began."""
        self.power_w: list[float] = []
        self.throttle: int | None = None
        """Every bit that was set at some sample."""
        self.cost_s = 0.0

    def look(self) -> None:
        now_s = self._clock.now_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._every_s * (1 + self._random.random() / 2)
        glance = self._meter.glance()
        if glance.power_w is not None:
            self.power_s.append(now_s - self.start_s)
            self.power_w.append(glance.power_w)
        if glance.throttle is not None:
            self.throttle = (self.throttle or 0) | glance.throttle
        self.cost_s += self._clock.now_s() - now_s


class Window:
    """Measures windows on one meter. `settle` waits until the device has done what it was asked for."""

    def __init__(
        self, meter: Meter, clock: Clock, settle: Callable[[], None] = lambda: None, length_s: float = 0.0
    ) -> None:
        """`length_s`, as planned, thins the samples of long windows."""
        self._meter, self._clock, self._settle = meter, clock, settle
        self._every_s = max(SAMPLE_S, length_s / MOST_SAMPLES)

    def run(self, work: Work, iterations: int, delay_s: float = 0.0, seed: int = 0) -> JsonObject:
        """Raw samples of one window.

        `ticks`: two steps before the work and all after it, as [after_s, by_s, joules since the first], times
        from the work's begin. `gross_j`, `window_s`: from the second to the last but one. All three are None
        on a meter without a counter. `work_s`.
        `power_s`, `power_w`, and `end_w` right after the work. `throttle`. `sampling_s`: what the samples
        cost. Raises NoEnergy.
        """
        before = self._edge()[-2:]
        self._clock.sleep_s(delay_s)
        sampler = Sampler(self._meter, self._clock, self._every_s, seed)
        for _ in range(iterations):
            work(sampler.look)
            sampler.look()
            self._settle()
        work_s = self._clock.now_s() - sampler.start_s
        end_w = self._meter.glance().power_w
        after = self._edge()
        return {
            **_between(before, after, sampler.start_s),
            "work_s": work_s,
            "power_s": sampler.power_s,
            "power_w": sampler.power_w,
            "end_w": end_w,
            "throttle": sampler.throttle,
            "sampling_s": sampler.cost_s,
        }

    def _edge(self) -> list[Tick]:
        """Consecutive steps at rest: the guard and two more; none where there is no counter."""
        if self._meter.method != "counter":
            return []
        return [next_tick(self._meter, self._clock) for _ in range(GUARD_TICKS + 2)]


def _between(before: list[Tick], after: list[Tick], start_s: float) -> JsonObject:
    if not before:
        return {"ticks": None, "gross_j": None, "window_s": None}
    (first, opening), closing = before, after[-2]
    return {
        "ticks": [
            [tick.after_s - start_s, tick.by_s - start_s, tick.energy_j - first.energy_j]
            for tick in (*before, *after)
        ],
        "gross_j": closing.energy_j - opening.energy_j,
        "window_s": closing.at_s - opening.at_s,
    }
