"""Scheduling cells over workers, and turning what a worker says, or its death, into a record.

Up to `jobs` workers load and evaluate side by side; a timed phase (quantizing, latency, energy) has the
machine for itself, so that `--jobs` changes no time that is measured.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from qbench.results.record import Record, Status
from qbench.results.store import Run, write_record
from qbench.run.environment import oom_kills
from qbench.run.manifest import utc_now
from qbench.run.plan import Planned
from qbench.run.pool import Job, Pool
from qbench.suite.cell import Cell

TICK_S = 1.0
"""How often the display is refreshed while nothing is timed; while something is, the parent sleeps."""


class Listener(Protocol):
    """What a progress display hears of a run."""

    def begin(self, run: Run, planned: Sequence[Planned]) -> None: ...
    def phase(self, cell: Cell, name: str) -> None: ...
    def record(self, record: Record) -> None: ...
    def tick(self) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class Flight:
    """A cell in its worker, and what it has said so far."""

    cell: Cell
    started_at: str = field(default_factory=utc_now)
    started: float = field(default_factory=time.perf_counter)
    oom_kills: int | None = field(default_factory=oom_kills)
    parts: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    done: bool = False
    phase: str = "start"
    wants: bool = False
    holds: bool = False

    def note(self, event: dict[str, Any]) -> None:
        """Takes in one thing that the worker said."""
        match event["event"]:
            case "started":
                self.parts["phases"] = {"start": time.perf_counter() - self.started}
            case "phase":
                self.phase = event["name"]
            case "part":
                _merge(self.parts, event["key"], event["value"])
            case "want":
                self.wants = True
            case "release":
                self.holds = False
            case "error":
                self.error = event
            case "done":
                self.done = True


@dataclass
class Schedule:
    """Runs cells and writes their records."""

    run: Run
    listener: Listener
    jobs: int = 1
    records: list[Record] = field(default_factory=list)
    _flights: dict[Job, Flight] = field(default_factory=dict)

    def work(self, pool: Pool, cells: Sequence[Cell]) -> None:
        """Runs every cell; returns when the last has its record."""
        waiting = deque(cells)
        while waiting or self._flights:
            while waiting and len(self._flights) < self.jobs and not self._busy():
                self._start(pool, waiting.popleft())
            for job in pool.wait(None if self._busy() else TICK_S):
                self._hear(job)
            self._grant()
            if not self._busy():
                self.listener.tick()

    def skip(self, cell: Cell, reason: str) -> None:
        """Records a cell that cannot run here by design."""
        now = utc_now()
        self._write(Record(cell, self.run.suite, self.run.name, "skipped", reason, None, now, now))

    def _start(self, pool: Pool, cell: Cell) -> None:
        self._flights[pool.start({"kind": "cell", "cell": cell.to_dict()}, cell.timeout_s)] = Flight(cell)
        self.listener.phase(cell, "start")

    def _busy(self) -> bool:
        """Whether a worker has the machine for itself, or waits until it can."""
        return any(flight.holds or flight.wants for flight in self._flights.values())

    def _grant(self) -> None:
        """Gives the machine to one worker once all the others wait for it too."""
        flights = self._flights.values()
        if any(not flight.wants for flight in flights):
            return
        for job, flight in self._flights.items():
            flight.wants, flight.holds = False, True
            job.go_on()
            job.send({"go": True})
            return

    def _hear(self, job: Job) -> None:
        flight = self._flights[job]
        while job.events:
            event = job.events.popleft()
            if event["event"] == "want":
                job.hold()
            flight.note(event)
            if event["event"] == "phase":
                self.listener.phase(flight.cell, event["name"])
        if job.exit_code is not None:
            del self._flights[job]
            self._write(_record(self.run, flight, job))

    def _write(self, record: Record) -> None:
        write_record(self.run.folder, record)
        self.records.append(record)
        self.listener.record(record)


def _merge(parts: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(value, dict):
        parts.setdefault(key, {}).update(value)
    else:
        parts[key] = value


def _record(run: Run, flight: Flight, job: Job) -> Record:
    status, reason, error = outcome(flight, job)
    parts = flight.parts
    return Record(
        cell=flight.cell,
        suite=run.suite,
        run=run.name,
        status=status,
        reason=reason,
        error=error,
        started_at=flight.started_at,
        ended_at=utc_now(),
        phases=parts.get("phases", {}),
        environment={**parts.get("environment", {}), "peak_rss_bytes": job.peak_rss_bytes, "pid": job.pid},
        model=parts.get("model", {}),
        layers=parts.get("layers", []),
        samples=parts.get("samples", {}),
    )


def outcome(flight: Flight, job: Job) -> tuple[Status, str | None, dict[str, str] | None]:
    """Status, reason and error of a worker that has ended, however it did."""
    where = f"in phase {flight.phase}"
    if flight.error is not None:
        error = {key: flight.error[key] for key in ("type", "message", "traceback")}
        line = f"{error['type']} {where}: {error['message'].splitlines()[0]}"
        if flight.error["status"] == "oom":
            return "oom", f"{line} (peak {_mib(flight.error['peak_rss_bytes'])}{_limit(flight.cell)})", error
        return "failed", line, error
    if job.timed_out:
        return "timeout", f"stopped {where} after {flight.cell.timeout_s:g} s (timeout_s)", None
    if flight.done and job.exit_code == 0:
        return "ok", None, None
    log = {"type": "Died", "message": _death(job.exit_code), "traceback": job.log_tail()}
    if job.exit_code == -signal.SIGKILL and flight.oom_kills != oom_kills():
        reason = f"killed {where} by the system, which ran out of memory (peak {_mib(job.peak_rss_bytes)})"
        return "oom", reason, log
    return "failed", f"the worker {log['message']} {where}", log


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"exited with code {code} without a result"


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"


def _limit(cell: Cell) -> str:
    return f", memory_limit {_mib(cell.memory_limit)}" if cell.memory_limit else ""
