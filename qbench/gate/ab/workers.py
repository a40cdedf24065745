"""`Lane`: one side of a cell in its worker. `Crew`: all lanes in memory, of which one at a time computes.

Whoever does not compute is stopped with all its threads, on both sides alike, and the parent sleeps meanwhile
in one system call.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qbench.gate.ab.versions import Entry, Side
from qbench.results.store.folders import Run
from qbench.results.store.record import Record
from qbench.run.executors.local.pool import Job
from qbench.run.executors.local.running_cell import Flight, record_of

Clock = Callable[[], float]
PROBES = ("perplexity", "memory", "tasks")
"""Phases that run once, in the first load alone."""
CLOCKS_AGREE_S = 0.005
"""A round that says it took longer than its whole turn, by more than that: one of two clocks has jumped."""


@dataclass(eq=False)
class Lane:
    side: Side
    entry: Entry
    job: Job
    flight: Flight
    corners: list[dict[str, Any]] = field(default_factory=list)
    """What the worker says of each prompt length × batch size, in its order."""
    answer: Any = None
    """Of the newest errand."""
    load_s: float = 0.0
    """From its start until it was warm, without the deterministic probes, on the parent's clock."""
    warm: bool = False
    """Whether it has ever waited for an errand."""

    @property
    def waits(self) -> bool:
        """Whether it can be sent on an errand."""
        return not self.ended and self.flight.stage is not None

    @property
    def ended(self) -> bool:
        return self.job.exit_code is not None

    def record(self, suite: str) -> Record:
        """What the worker said, once it has ended."""
        return record_of(Run(suite, self.side.name, Path()), self.flight, self.job, {})


@dataclass
class Crew:
    """The lanes in memory. `clock` is a steady one, in seconds."""

    clock: Clock = time.perf_counter
    lanes: list[Lane] = field(default_factory=list)

    def start(self, side: Side, entry: Entry, *, probes: bool, turns: bool) -> Lane:
        """A new lane, run until it is warm and waits, or has ended."""
        began = self.clock()
        message = {"kind": "rounds", "cell": entry.raw, "probes": probes, "turns": turns}
        flight = Flight(entry.cell, beside=bool(self.lanes))
        lane = Lane(side, entry, side.pool.start(message, entry.cell.timeout_s), flight)
        self.lanes.append(lane)
        self._run(lane)
        lane.warm = lane.waits
        probing_s = sum(lane.flight.parts.get("phases", {}).get(name, 0.0) for name in PROBES)
        lane.load_s = self.clock() - began - probing_s
        return lane

    def errand(self, lane: Lane, errand: dict[str, Any]) -> tuple[Any, float]:
        """The answer of a lane that waits, and the seconds of the whole turn; None where it died of it."""
        lane.answer = None
        began = self.clock()
        lane.job.renew(lane.entry.cell.timeout_s)
        self._give(lane, errand)
        self._run(lane)
        return lane.answer, self.clock() - began

    def dismiss(self, lanes: Iterable[Lane]) -> None:
        """Ends lanes as a worker ends that has done its work; those that died are forgotten."""
        for lane in list(lanes):
            if lane.waits:
                self.errand(lane, {"errand": "over"})
            while not lane.ended:
                self._hear(lane.side.pool.wait())
            self._hear([lane.job])
            self.lanes.remove(lane)

    def _run(self, lane: Lane) -> None:
        """Lets this lane compute until it waits for an errand, or has ended; then stops it."""
        while not (lane.ended or lane.waits):
            self._hear(lane.side.pool.wait())
            if lane.flight.wants and not lane.ended:  # a phase that must be alone, as it is
                self._give(lane, {"go": True})
        if lane.waits:
            lane.job.stop()

    def _give(self, lane: Lane, message: dict[str, Any]) -> None:
        siblings = [
            one.job.pid
            for one in self.lanes
            if one is not lane and not one.ended and one.entry.cell.device == lane.entry.cell.device
        ]
        lane.flight.granted()
        lane.job.go_on()
        lane.job.send({**message, "siblings": siblings})

    def _hear(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            lane = next((one for one in self.lanes if one.job is job), None)
            while job.events and lane is not None:
                event = job.events.popleft()
                if event["event"] == "want":
                    job.hold()
                elif event["event"] == "corner":
                    lane.corners.append(event["value"])
                elif event["event"] == "did":
                    lane.answer = event["value"]
                lane.flight.note(event)


def believable(seconds: list[float], turn_s: float) -> bool:
    """Whether the times of a round can be true: each positive, and all together within the turn."""
    return (
        bool(seconds)
        and all(math.isfinite(one) and one > 0 for one in seconds)
        and math.fsum(seconds) <= turn_s + CLOCKS_AGREE_S
    )
