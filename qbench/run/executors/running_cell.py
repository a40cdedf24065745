"""`RunningCell`: a cell in its worker, and the `Record` that it becomes."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from qbench.cell import Cell
from qbench.json_object import JsonObject
from qbench.results.store.folders import Run
from qbench.results.store.record import Record, Status
from qbench.run.executors.executor import Ended
from qbench.run.executors.memory_admission import mib
from qbench.run.executors.running_job import RunningJob
from qbench.run.executors.state import State
from qbench.run.provenance.environment import utc_now


@dataclass(eq=False, kw_only=True)
class RunningCell(RunningJob):
    """A job that works on a cell."""

    cell: Cell
    started_at: str = field(default_factory=utc_now)
    beside: bool = False
    """Another worker was in memory at some time of its life."""
    retried: str | None = None
    """End of its first try, beside others, where it now runs alone."""


@dataclass(frozen=True)
class CellOutcome:
    """Status, reason and error of a cell that has ended."""

    status: Status
    reason: str | None = None
    error: dict[str, str] | None = None


def record_of(run: Run, running: RunningCell, slots: JsonObject) -> Record:
    """The record of a cell that has ended; `slots` names those that its rounds are paired with."""
    ended, how, parts = _ending(running), outcome(running), running.parts
    environment = {**parts.get("environment", {}), "peak_rss_bytes": ended.peak_rss_bytes, "pid": ended.pid}
    if running.retried is not None:
        environment["retried_alone"] = running.retried
    if "runs" in parts.get("samples", {}).get("latency", {}):
        parts["samples"]["latency"].update(slots)
    return Record(
        cell=running.cell,
        suite=run.suite,
        run=run.name,
        status=how.status,
        reason=how.reason,
        error=how.error,
        started_at=running.started_at,
        ended_at=utc_now(),
        phases=parts.get("phases", {}),
        environment=environment,
        model=parts.get("model", {}),
        layers=parts.get("layers", []),
        samples=parts.get("samples", {}),
    )


def ran_out_beside(running: RunningCell, record: Record) -> bool:
    """True where memory ran out that others may have held; not where the cell's own limit forbids it."""
    if record.status != "oom" or not running.beside:
        return False
    own_limit = running.failure is not None and running.cell.memory_limit is not None
    return not (own_limit and running.cell.device == "cpu")


def outcome(running: RunningCell) -> CellOutcome:
    """Status, reason and error of a cell that has ended, however it did."""
    ended, where = _ending(running), f"in phase {running.phase}"
    if running.failure is not None:
        return _failed(running, where)
    if ended.timed_out:
        return CellOutcome("timeout", f"stopped {where} after {running.cell.timeout_s:g} s (timeout_s)")
    if running.state is State.ENDED and ended.exit_code == 0:
        return CellOutcome("ok")
    log = {"type": "Died", "message": _death(ended), "traceback": ended.log}
    if ended.out_of_memory:
        peak = mib(ended.peak_rss_bytes)
        return CellOutcome("oom", f"killed {where} by the system, which ran out of memory (peak {peak})", log)
    return CellOutcome("failed", f"the worker {log['message']} {where}", log)


def _failed(running: RunningCell, where: str) -> CellOutcome:
    failure = running.failure
    assert failure is not None
    error = {
        "type": failure.type,
        "message": failure.message,
        "traceback": failure.traceback or _ending(running).log,
    }
    line = f"{failure.type} {where}: {(failure.message.splitlines() or [''])[0]}"
    if failure.status == "oom":
        return CellOutcome("oom", f"{line} (peak {mib(failure.peak_rss_bytes)}{_limit(running.cell)})", error)
    return CellOutcome("failed", line, error)


def _ending(running: RunningCell) -> Ended:
    assert running.ending is not None, "the cell has not ended"
    return running.ending


def _death(ended: Ended) -> str:
    code = ended.exit_code
    if code is None:
        return f"was lost: {ended.why or 'no reason was given'}"
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"exited with code {code} without a result"


def _limit(cell: Cell) -> str:
    return f", memory_limit {mib(cell.memory_limit)}" if cell.memory_limit else ""
