"""From the raw samples of energy windows to the joules of the work in them, with an error bound.

A window lies between two steps of a counter; the work begins `lead` after the first and ends `tail` before
the second. With E the counter's difference, and the power drawn at rest just before and just after:

    work = E − before_w · lead − after_w · tail

What can be wrong with that, each at its worst and added up (`Worked.bound_j`):

- the counter's resolution, at both edges of the window and, times lead or tail, in the two rest powers;
- the instant of a step, known within its bracket, times the power at rest, or after the work the highest;
- rest: it may change across the lead, and across what the counter is late, by as much as across the work;
- the tail up to its first step: nobody saw how fast power fell, so it may have stayed at the highest seen;
- the tail from there on: what the counter shows there beyond rest is either energy of the work that it shows
  late, as which it is counted, or power that sank slowly once the work was done.

The fourth is the greatest as a rule: at most (peak − rest) · τ, so that it falls as 1/T. Nothing here speaks
of how true the counter itself is: NVIDIA states none, and independent measurements found ±5 % (arXiv
2312.02741). A sensor that looks away for part of the time errs by more on bursts that keep step with it;
that shows between trials, which begin at different phases, and is in their interval, not in the bound.

Without a counter the power samples are integrated; their bound is that of the mean of so many samples
(`SIGMAS` standard errors) and of one sensor period at either edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qbench.json_object import JsonObject

Part = Mapping[str, Any]
SENSOR_S = 0.1
"""Greatest age of an instant power reading: NVML's sensors are read out every 100 ms or faster."""
SIGMAS = 4.0
POWER_STEP_W = 0.001
"""NVML tells whole milliwatts."""


@dataclass(frozen=True)
class Worked:
    """One window: what its work drew. Joules and seconds of the work alone."""

    energy_j: float
    seconds: float
    bound_j: float | None
    """The work's true energy lies within this of `energy_j`, as far as the counter is true."""
    integrated_j: float | None
    """Joules by the power samples; None for fewer than two."""


@dataclass(frozen=True)
class Edge:
    """Two consecutive steps of the counter: rest between them."""

    power_w: float
    error_w: float
    width_s: float
    """Width of the bracket of the step that is nearer to the work."""


def worked(sample: Mapping[str, Any], name: str) -> list[Worked]:
    """The windows of part `name` (`prefill`, `decode`) of an energy probe's sample, in order of measuring."""
    part = sample.get(name) or {}
    if sample.get("method", "counter") == "integrated":
        return _integrated(part)
    if "ticks" not in part:  # written before lead and tail were
        pairs = zip(part.get("gross_j", ()), part.get("window_s", ()), strict=True)
        return [Worked(gross_j, window_s, None, None) for gross_j, window_s in pairs]
    resolution_j = resolution(sample)
    return [_counted(_nth(part, place), resolution_j) for place in range(len(part["ticks"]))]


def idle_w(sample: Mapping[str, Any], name: str) -> list[float]:
    """Watts of the idle windows before and after the cell's."""
    idle = sample.get("idle")
    if idle is None:
        old = (sample.get(name) or {}).get("idle_w")
        return [] if old is None else [float(old)]
    found = [_idle_power(idle[when]) for when in ("before", "after")]
    return [power_w for power_w in found if power_w is not None]


def resolution(sample: Mapping[str, Any]) -> float:
    """The counter's least step in joules, of which all that it showed are multiples; at least its own."""
    least_j = float(sample["resolution_j"])
    series = [sample.get("calibration") or []]
    for part in (sample.get("prefill"), sample.get("decode")):
        series.extend((part or {}).get("ticks") or [])
    series.extend(window["ticks"] for window in (sample.get("idle") or {}).values())
    seen = {round(joules / least_j) for ticks in series for _, _, joules in ticks}
    return least_j * max(math.gcd(*seen), 1)


def integral(times: Sequence[float], watts: Sequence[float], seconds: float) -> float | None:
    """Joules from 0 to `seconds` under a line through the samples, held level before and after them."""
    if len(times) < 2:
        return None
    total_j = watts[0] * times[0] + watts[-1] * (seconds - times[-1])
    for place in range(1, len(times)):
        total_j += (times[place] - times[place - 1]) * (watts[place] + watts[place - 1]) / 2
    return total_j


def _counted(window: Part, resolution_j: float) -> Worked:
    first, opening, soonest, *_, closing, last = window["ticks"]
    before, after = _edge(first, opening, opening, resolution_j), _edge(closing, last, soonest, resolution_j)
    lead_s, tail_s = -_at(opening), _at(closing) - window["work_s"]
    unseen_s = _at(soonest) - window["work_s"]
    guard_s = _at(closing) - _at(soonest)
    late_j = closing[2] - soonest[2] - after.power_w * guard_s
    energy_j = closing[2] - opening[2] - before.power_w * lead_s - after.power_w * tail_s
    peak_w = max([energy_j / window["work_s"], *window["power_w"], window["end_w"] or 0.0, after.power_w])
    bound_j = (
        resolution_j
        + before.power_w * before.width_s / 2
        + peak_w * after.width_s / 2
        + lead_s * before.error_w
        + (lead_s + guard_s) * abs(after.power_w - before.power_w)
        + tail_s * after.error_w
        + unseen_s * (peak_w - after.power_w)
        + abs(late_j)
    )
    by_power = integral(window["power_s"], window["power_w"], window["work_s"])
    return Worked(energy_j, window["work_s"], bound_j, by_power)


def _edge(first: Sequence[float], second: Sequence[float], nearer: Sequence[float], res_j: float) -> Edge:
    seconds = _at(second) - _at(first)
    power_w = (second[2] - first[2]) / seconds
    widths_s = (first[1] - first[0]) / 2 + (second[1] - second[0]) / 2
    return Edge(power_w, (res_j + power_w * widths_s) / seconds, nearer[1] - nearer[0])


def _integrated(part: Part) -> list[Worked]:
    found = []
    for place in range(len(part.get("work_s", ()))):
        window = _nth(part, place)
        seconds, watts = window["work_s"], window["power_w"]
        energy_j = integral(window["power_s"], watts, seconds)
        if energy_j is not None:
            error_w = SIGMAS * _deviation(watts) / math.sqrt(len(watts))
            late_j = 2 * SENSOR_S * (max(watts) - min(watts))
            bound_j = seconds * (error_w + POWER_STEP_W) + late_j
            found.append(Worked(energy_j, seconds, bound_j, energy_j))
    return found


def _idle_power(window: Part) -> float | None:
    if window["gross_j"] is not None:
        return float(window["gross_j"] / window["window_s"])
    energy_j = integral(window["power_s"], window["power_w"], window["work_s"])
    return None if energy_j is None else energy_j / window["work_s"]


def _nth(part: Part, place: int) -> JsonObject:
    keys = ("ticks", "work_s", "power_s", "power_w", "end_w")
    return {key: part[key][place] for key in keys}


def _at(tick: Sequence[float]) -> float:
    return (tick[0] + tick[1]) / 2


def _deviation(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1))
