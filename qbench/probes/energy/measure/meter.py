"""`Meter`: what NVML and RAPL have in common, and why there may be none.

A meter of method `counter` counts joules since some moment in the past, in steps; one of method `integrated`
knows only the power at an instant. Either says what may explain its figures.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from qbench.json_object import JsonObject

Reason = Literal["no_driver", "not_supported", "no_permission", "mig", "window_too_short", "window_too_long"]
Method = Literal["counter", "integrated"]


class NoEnergy(Exception):
    """No energy can be measured; `reason` is for machines, `detail` for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


class Glance(NamedTuple):
    """A reading in the middle of a window; None where the source has no such thing."""

    power_w: float | None
    """At this instant, from a sensor that is no part of the counter."""
    throttle: int | None
    """NVML's bits of why clocks are held down; `qbench.probes.energy.context` names them."""


class Meter(Protocol):
    source: str
    """`nvml_counter`, `nvml_integrated` or `rapl`."""
    method: Method

    def energy_j(self) -> float:
        """Joules since a fixed moment; grows, in steps. Raises NoEnergy."""

    def glance(self) -> Glance:
        """The cheap readings, for between two steps of the work."""

    def facts(self) -> JsonObject:
        """Constant facts: `scope` (`gpu`, `module`, `package`), `resolution_j` (least step), more."""

    def state(self, siblings: Sequence[int] = ()) -> JsonObject:
        """State that may explain a figure: temperature, limits, throttling, other processes; JSON values.

        `siblings` are the process ids of our own stopped workers."""


class Clock:
    """Time as the meters use it; tests put a scripted one in its place."""

    def now_s(self) -> float:
        return time.perf_counter()

    def sleep_s(self, seconds: float) -> None:
        time.sleep(seconds)
