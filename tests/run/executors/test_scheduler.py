"""Who may compute, and whose clock runs: the scheduler's rules without a worker."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from qbench.cell import Cell, ModelRef
from qbench.results.store.folders import Run
from qbench.run.executors.local.pool import Job, Lines
from qbench.run.executors.local.scheduler import Schedule
from qbench.run.executors.local.turns import groups
from qbench.run.worker.channel import Channel
from tests.run.conftest import Listening


class Scripted:
    """A pool whose workers say what the test puts into their events."""

    def __init__(self, tmp_path: Path) -> None:
        self.jobs: list[Job] = []
        self.sockets: list[socket.socket] = []
        self.log = tmp_path / "log"
        self.log.write_text("")

    def start(self, message: dict[str, Any], timeout_s: float) -> Job:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        now = time.monotonic()
        self.sockets.append(theirs)
        self.jobs.append(Job(Lines(ours), now, now + timeout_s, self.log))  # no pid: nobody is signalled
        return self.jobs[-1]

    def told_to_go(self) -> list[bool]:
        def heard(sock: socket.socket) -> bool:
            try:
                return b"go" in sock.recv(1000)
            except BlockingIOError:
                return False

        return [heard(sock) for sock in self.sockets]


@pytest.fixture
def stage(tmp_path: Path) -> tuple[Scripted, Schedule]:
    pool = Scripted(tmp_path)
    schedule = Schedule(Run("s", "r", tmp_path), Listening(), jobs=2)
    for number in range(2):
        cell = Cell(ModelRef("m", "m", "sha256:0"), "none", {}, "bf16", "cpu", "x", seed=number, timeout_s=50)
        (group,) = groups([cell])
        group.waiting.clear()
        schedule._start(pool, cell, group)  # type: ignore[arg-type]
    return pool, schedule


def _say(schedule: Schedule, job: Job, **event: Any) -> None:
    job.events.append(event)
    schedule._hear(job)
    schedule._grant()


def test_a_timed_phase_waits_until_all_others_wait_too(stage: tuple[Scripted, Schedule]) -> None:
    pool, schedule = stage
    first, second = pool.jobs
    _say(schedule, first, event="want")
    assert pool.told_to_go() == [False, False], "the second worker still computes"
    _say(schedule, second, event="want")
    assert pool.told_to_go() == [True, False]
    _say(schedule, first, event="phase", name="latency", timed=True)
    assert pool.told_to_go() == [False, False]
    _say(schedule, first, event="release")
    assert pool.told_to_go() == [False, False], "the first went on to an untimed phase"
    first.exit_code = 0
    _say(schedule, first, event="done")
    assert pool.told_to_go() == [False, True]


def test_waiting_for_a_turn_costs_no_time_of_the_cell(stage: tuple[Scripted, Schedule]) -> None:
    pool, schedule = stage
    first, second = pool.jobs
    before = first.deadline
    _say(schedule, first, event="want")
    assert first.deadline == float("inf")
    time.sleep(0.3)
    _say(schedule, second, event="want")
    assert first.deadline == pytest.approx(before + 0.3, abs=0.1)
    assert second.deadline == float("inf")


def test_a_worker_that_dies_while_it_has_the_machine_gives_it_up(stage: tuple[Scripted, Schedule]) -> None:
    pool, schedule = stage
    first, second = pool.jobs
    _say(schedule, first, event="want")
    _say(schedule, second, event="want")
    assert pool.told_to_go() == [True, False]
    first.exit_code = -9
    schedule._hear(first)
    schedule._grant()
    assert pool.told_to_go() == [False, True]
    assert [record.status for record in schedule.records] == ["failed"]


def test_a_worker_keeps_the_siblings_that_it_was_told_of_with_the_machine() -> None:
    ours, theirs = socket.socketpair()
    turn = {"lap": 0, "place": 0, "since_s": 0.0, "since_utc": ""}
    for word in ({"go": True, "siblings": [7, 8]}, {**turn, "siblings": [8]}):
        ours.sendall(json.dumps(word).encode() + b"\n")
    channel = Channel(theirs)
    assert channel.siblings == ()
    with channel.phase("energy", timed=True):
        assert channel.siblings == (7, 8)
    with channel.turn(0):
        assert channel.siblings == (8,)
