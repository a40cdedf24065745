"""Ends of a worker, and what the record says of each."""

from __future__ import annotations

import pytest

from qbench.run.executors.executor import Ended, Event, cell_job
from qbench.run.executors.running_cell import CellOutcome, RunningCell, outcome
from qbench.run.worker.events import Done, Failure, Phase
from tests.results import factory

OOM = "killed in phase load by the system, which ran out of memory (peak 5 MiB)"


@pytest.mark.parametrize(
    ("events", "status", "reason"),
    [
        ([Done(), Ended(0)], "ok", None),
        ([Done(), Ended(1)], "failed", "the worker exited with code 1 without a result in phase load"),
        ([Ended(0)], "failed", "the worker exited with code 0 without a result in phase load"),
        ([Ended(-11, log="trace")], "failed", "the worker was killed by SIGSEGV in phase load"),
        ([Ended(-9, out_of_memory=True, peak_rss_bytes=5 << 20)], "oom", OOM),
        ([Ended(-9, timed_out=True)], "timeout", "stopped in phase load after 3600 s (timeout_s)"),
        ([Ended(None, why="node-3 died")], "failed", "the worker was lost: node-3 died in phase load"),
        ([Failure("oom", "MemoryError", "no\nmore", "t", 1 << 20), Ended(1)], "oom",
         "MemoryError in phase load: no (peak 1 MiB)"),
        ([Failure("failed", "ValueError", ""), Ended(1)], "failed", "ValueError in phase load: "),
    ],
)  # fmt: skip
def test_how_a_worker_ended(events: list[Event], status: str, reason: str | None) -> None:
    cell = factory.cell()
    running = RunningCell(cell_job(cell), cell=cell)
    for event in (Phase("load"), *events):
        running.note(event)
    found = outcome(running)
    assert (found.status, found.reason) == (status, reason)
    assert (found.error is None) == (status in ("ok", "timeout"))
    assert isinstance(found, CellOutcome)
