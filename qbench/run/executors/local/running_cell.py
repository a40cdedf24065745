"""`Flight`: a cell in its worker; what the worker says, and how it ends, as a `Record`."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from typing import Any

from qbench.cell import Cell
from qbench.results.store.folders import Run
from qbench.results.store.record import Record, Status
from qbench.run.executors.local.pool import Job
from qbench.run.provenance.clock import utc_now
from qbench.run.provenance.environment import oom_kills


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
    """Whether it waits until it has the machine for itself."""
    stage: int | None = None
    """How far it is in its rounds while it waits for a turn."""
    holds: bool = False
    turning: bool = False
    """Whether its rounds have begun and are not over."""
    through: bool = False
    """Whether its rounds are over."""
    needs: dict[str, int | None] = field(default_factory=dict)
    """Bytes that it took until its rounds; see `room.py`."""
    beside: bool = False
    """Whether another worker was in memory at some time of its life."""
    retried: str | None = None
    """How it ended the first time, beside others, where it now runs alone."""

    @property
    def waits(self) -> bool:
        """Whether it stands still until the scheduler gives it the machine."""
        return self.wants or self.stage is not None

    def granted(self) -> None:
        """It has the machine now."""
        self.turning = self.turning or self.stage is not None
        self.wants, self.stage, self.holds = False, None, True

    def note(self, event: dict[str, Any]) -> None:
        """Takes in one thing that the worker said."""
        match event["event"]:
            case "started":
                self.parts["phases"] = {"start": time.perf_counter() - self.started}
            case "phase":
                self.phase = event["name"]
            case "part":
                _merge(self.parts, event["key"], event["value"])
            case "rounds_over":
                self.turning, self.through = False, True
            case "needs":
                self.needs = event["bytes"]
            case "want":
                self.stage = event.get("stage")
                self.wants = self.stage is None
            case "release":
                self.holds = False
            case "error":
                self.error = event
            case "done":
                self.done = True


def _merge(parts: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(value, dict):
        parts.setdefault(key, {}).update(value)
    else:
        parts[key] = value


def record_of(run: Run, flight: Flight, job: Job, turns: dict[str, Any]) -> Record:
    """The record of a worker that has ended; `turns` says with whom it took turns."""
    status, reason, error = outcome(flight, job)
    parts = flight.parts
    environment = {**parts.get("environment", {}), "peak_rss_bytes": job.peak_rss_bytes, "pid": job.pid}
    if flight.retried is not None:
        environment["retried_alone"] = flight.retried
    if "runs" in parts.get("samples", {}).get("latency", {}):
        parts["samples"]["latency"].update(turns)
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
        environment=environment,
        model=parts.get("model", {}),
        layers=parts.get("layers", []),
        samples=parts.get("samples", {}),
    )


def ran_out_beside(flight: Flight, record: Record) -> bool:
    """Whether memory ran out that others may have held: any but what the cell's own limit forbids."""
    if record.status != "oom" or not flight.beside:
        return False
    own_limit = flight.error is not None and flight.cell.memory_limit is not None
    return not (own_limit and flight.cell.device == "cpu")


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
