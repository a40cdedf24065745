"""`WorkerHandle`: one version's end of a cell in its worker. `Workers`: those in memory, one of which
computes.

The others are suspended with all their threads, on both versions alike, and the parent sleeps meanwhile in
one system call.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qbench.gate.ab.versions import Entry, Version
from qbench.json_object import JsonObject
from qbench.results.store.folders import Run
from qbench.results.store.record import Record
from qbench.run.executors.executor import Event, Job
from qbench.run.executors.running_cell import RunningCell, record_of
from qbench.run.executors.state import State
from qbench.run.worker.events import Answer, WarmWorkload
from qbench.run.worker.requests import Go, Grant, Request, TimeRounds

Clock = Callable[[], float]
PROBES = ("perplexity", "memory", "tasks")
"""Phases that run once, in the first load alone."""
CLOCKS_AGREE_S = 0.005
"""Tolerance between the time that a round reports and that of its whole slot; beyond it a clock has
jumped."""


@dataclass(eq=False, kw_only=True)
class RunningRounds(RunningCell):
    """A cell whose worker carries out requests."""

    workloads: list[JsonObject] = field(default_factory=list)
    """Facts of each prompt length × batch size, in the worker's order."""
    answer: Any = None
    """Answer to the newest request."""

    def note(self, event: Event) -> bool:
        if isinstance(event, WarmWorkload):
            self.workloads.append(event.value)
        elif isinstance(event, Answer):
            self.answer = event.value
        return super().note(event)


@dataclass(eq=False)
class WorkerHandle:
    """A worker that was started for one version."""

    version: Version
    entry: Entry
    running: RunningRounds
    load_s: float = 0.0
    """From its start until it was warm, without the deterministic probes, on the parent's clock."""
    warm: bool = False
    """True once it has waited for a request."""

    @property
    def waits(self) -> bool:
        """True while it can be sent a request."""
        return self.running.state in (State.AWAITS_FIRST_SLOT, State.AWAITS_SLOT)

    @property
    def ended(self) -> bool:
        return self.running.over

    def record(self, suite: str) -> Record:
        """The record of a worker that has ended."""
        return record_of(Run(suite, self.version.role, Path()), self.running, {})


@dataclass
class Workers:
    """The workers in memory. `clock` is a steady one, in seconds."""

    clock: Clock = time.perf_counter
    handles: list[WorkerHandle] = field(default_factory=list)

    def start(self, version: Version, entry: Entry, *, probes: bool, requests: bool) -> WorkerHandle:
        """A new worker, run until it is warm and waits, or has ended."""
        began, cell = self.clock(), entry.cell
        work = TimeRounds(entry.raw, probes, requests)
        job = Job(work, cell.timeout_s, cell.device, cell.memory_limit, exclusive=True)
        running = RunningRounds(job, cell=cell, beside=bool(self.handles))
        handle = WorkerHandle(version, entry, running)
        self.handles.append(handle)
        version.driver.start(running)
        self._run(handle)
        handle.warm = handle.waits
        probing_s = sum(running.parts.get("phases", {}).get(name, 0.0) for name in PROBES)
        handle.load_s = self.clock() - began - probing_s
        return handle

    def request(self, handle: WorkerHandle, request: Request) -> tuple[Any, float]:
        """The answer of a worker that waits, and the seconds of its whole slot; None where it died of it."""
        handle.running.answer = None
        began = self.clock()
        self._grant(handle, request, handle.entry.cell.timeout_s)
        self._run(handle)
        return handle.running.answer, self.clock() - began

    def dismiss(self, handles: Iterable[WorkerHandle]) -> None:
        """Ends workers as one ends that has done its work; those that died are forgotten."""
        for handle in list(handles):
            if handle.waits:
                self.request(handle, Request("over"))
            handle.version.driver.run(lambda handle=handle: handle.ended)  # type: ignore[misc]
            self.handles.remove(handle)

    def _run(self, handle: WorkerHandle) -> None:
        """Lets this worker compute until it waits for a request, or has ended; then suspends it."""

        def act() -> None:
            if handle.running.waits:  # a phase that must be alone, as it is
                self._grant(handle, Go())

        handle.version.driver.run(lambda: handle.ended or handle.waits, act)
        if handle.waits:
            handle.version.executor.suspend(handle.running.job)

    def _grant(self, handle: WorkerHandle, grant: Grant, timeout_s: float | None = None) -> None:
        job, driver = handle.running.job, handle.version.driver
        strangers = [one for one in self.handles if one.version.driver is not driver]
        there = [one for one in strangers if one.running.job.device == job.device]
        pids = [pid for one in there for pid in one.version.executor.process_ids([one.running.job])]
        driver.grant(handle.running, replace(grant, siblings=tuple(pids)), timeout_s)


def believable(seconds: list[float], slot_s: float) -> bool:
    """True where the times of a round can be true: each positive, and all together within the slot."""
    return (
        bool(seconds)
        and all(math.isfinite(one) and one > 0 for one in seconds)
        and math.fsum(seconds) <= slot_s + CLOCKS_AGREE_S
    )
