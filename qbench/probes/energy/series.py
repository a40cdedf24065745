"""Raw samples of energy: windows, steps of the counter, and power."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qbench.results.columns.raw_series import RawSeries
from qbench.results.store.lookup import probe
from qbench.results.store.record import Record

QUANTITIES = {
    "tick_j": "a step of the counter, joules since the first; `at_s` is the middle of its bracket",
    "tick_bracket_s": "width of that bracket",
    "power_w": "a sample of instant power",
    "work_s": "seconds of the work in a window",
    "gross_j": "the counter's difference over a window",
    "window_s": "seconds between the steps that enclose it",
    "end_w": "power right after the work",
    "idle_w": "power at rest; in records of before lead and tail were kept",
    "sampling_s": "seconds that reading power took",
    "throttle": "NVML's reasons for clocks held down, as bits",
}
"""Quantity → meaning."""


_WINDOW = {
    "work_s": "s", "window_s": "s", "gross_j": "J", "end_w": "W", "idle_w": "W", "sampling_s": "s",
    "throttle": "bits",
}  # fmt: skip
"""Number of a window, or list by trial → unit."""


def series(record: Record) -> Iterator[RawSeries]:
    found = probe(record, "energy")
    if found.get("calibration"):
        yield from _ticks("calibration", [found["calibration"]], None)
    for when, window in (found.get("idle") or {}).items():
        yield from _windows(f"idle {when}", {name: [value] for name, value in window.items()}, found)
    for part in ("prefill", "decode"):
        if found.get(part):
            yield from _windows(part, found[part], found)


def _windows(item: str, part: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[RawSeries]:
    """Raw series of one part: the trials' windows, the counter's steps and the samples of power."""
    tokens = part.get("tokens") if item in ("prefill", "decode") else None
    for name, unit in _WINDOW.items():
        values = part.get(name)
        if isinstance(values, list) and any(value is not None for value in values):
            counted = None if tokens is None else [tokens] * len(values)
            yield RawSeries("energy", name, unit, values, item, index=range(len(values)), tokens=counted)
    yield from _ticks(item, part.get("ticks") or [], tokens)
    times, watts = part.get("power_s") or [], part.get("power_w") or []
    for trial, (at_s, power_w) in enumerate(zip(times, watts, strict=True)):
        if power_w:
            places = range(len(power_w))
            trials = [trial] * len(power_w)
            yield RawSeries("energy", "power_w", "W", power_w, item, index=trials, step=places, at_s=at_s)


def _ticks(item: str, windows: Sequence[Any], tokens: float | None) -> Iterator[RawSeries]:
    """Steps of the counter: joules at the middle of the bracket in which the step fell, and its width."""
    for trial, ticks in enumerate(windows):
        if not ticks:
            continue
        index, steps = [trial] * len(ticks), range(len(ticks))
        middle = [(after_s + by_s) / 2 for after_s, by_s, _ in ticks]
        joules, widths = [one[2] for one in ticks], [by_s - after_s for after_s, by_s, _ in ticks]
        for name, unit, values in (("tick_j", "J", joules), ("tick_bracket_s", "s", widths)):
            yield RawSeries("energy", name, unit, values, item, index=index, step=steps, at_s=middle)
