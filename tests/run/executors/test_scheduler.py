"""Rules of the machine: which worker may compute, and whose clock runs, without a worker."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from qbench.cell import Cell, ModelRef
from qbench.results.store.folders import Run
from qbench.run.executors.executor import Capability, Ended, Event, Executor, Job
from qbench.run.executors.local.executor import LocalExecutor, _Worker
from qbench.run.executors.local.process import Lines, WorkerProcess
from qbench.run.executors.scheduler import Scheduler, _Launch
from qbench.run.executors.slots import groups
from qbench.run.worker.channel import Channel
from qbench.run.worker.events import Done, Phase, Release, Want
from qbench.run.worker.requests import Go, Grant, MeasureCell
from tests.run.conftest import Listening


class Scripted(Executor):
    """An executor that remembers what it is told."""

    name = "scripted"
    capabilities = frozenset(Capability)

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.granted: list[Job] = []

    def start(self, job: Job) -> None:
        self.jobs.append(job)

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Event]]:
        raise AssertionError("the test says what happens")

    def grant(self, job: Job, grant: Grant, timeout_s: float | None = None) -> None:
        assert isinstance(grant, Go)
        self.granted.append(job)

    def suspend(self, job: Job) -> None: ...

    def close(self) -> None: ...

    def told_to_go(self) -> list[bool]:
        found = [job in self.granted for job in self.jobs]
        self.granted.clear()
        return found


@pytest.fixture
def launch(tmp_path: Path) -> _Launch:
    launch = _Launch(Scheduler(Run("s", "r", tmp_path), Listening(), jobs=2), Scripted(), [], [])
    for number in range(2):
        cell = Cell(ModelRef("m", "m", "sha256:0"), "none", {}, "bf16", "cpu", "x", seed=number, timeout_s=50)
        (group,) = groups([cell])
        group.waiting.clear()
        launch.start(cell, group)
    return launch


def _say(launch: _Launch, job: Job, *events: Event) -> list[bool]:
    """Which workers are told to go thereupon."""
    for event in events:
        launch.driver._hear(job, event)
    launch.grant()
    executor = launch.driver.executor
    assert isinstance(executor, Scripted)
    return executor.told_to_go()


def _jobs(launch: _Launch) -> list[Job]:
    return list(launch.driver.running)


def test_a_timed_phase_waits_until_all_others_wait_too(launch: _Launch) -> None:
    first, second = _jobs(launch)
    want = Want(phase="quantize")
    assert _say(launch, first, want) == [False, False], "the second worker still computes"
    assert _say(launch, second, want) == [True, False]
    assert _say(launch, first, Phase("latency", True)) == [False, False]
    assert _say(launch, first, Release()) == [False, False], "the first went on to an untimed phase"
    assert _say(launch, first, Done(), Ended(0)) == [False, True]


def test_a_worker_that_dies_while_it_has_the_machine_gives_it_up(launch: _Launch) -> None:
    first, second = _jobs(launch)
    _say(launch, first, Want(phase="quantize"))
    assert _say(launch, second, Want(phase="quantize")) == [True, False]
    assert _say(launch, first, Ended(-9)) == [False, True]
    assert [record.status for record in launch.scheduler.records] == ["failed"]


class Deaf:
    """A pool without a server: its processes are sockets of the test."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.sockets: list[socket.socket] = []
        self.processes: list[WorkerProcess] = []

    def start(self, work: Any, timeout_s: float) -> WorkerProcess:
        ours, theirs = socket.socketpair()
        now = time.monotonic()
        self.sockets.append(theirs)
        self.processes.append(WorkerProcess(Lines(ours), now, now + timeout_s, self.log))
        return self.processes[-1]

    def wait(self, timeout_s: float | None = None) -> list[WorkerProcess]:
        for process in self.processes:
            process.hear()
        return self.processes


def test_waiting_for_a_turn_costs_no_time_of_the_cell(tmp_path: Path) -> None:
    executor, pool = LocalExecutor.__new__(LocalExecutor), Deaf(tmp_path / "log")
    executor.pool, executor._workers = pool, dict[Job, _Worker]()  # type: ignore[assignment]
    job = Job(MeasureCell({}), 50)
    executor.start(job)
    (process,), (worker,) = pool.processes, pool.sockets
    before = process.deadline
    worker.sendall(b'{"event": "want", "phase": "quantize"}\n')
    assert executor.wait() == [(job, Want(phase="quantize"))]
    assert process.deadline == float("inf")
    time.sleep(0.3)
    executor.grant(job, Go())
    assert process.deadline == pytest.approx(before + 0.3, abs=0.1)
    assert b'"go": true' in worker.recv(1000)


def test_a_worker_keeps_the_siblings_that_it_was_told_of_with_the_machine() -> None:
    ours, theirs = socket.socketpair()
    turn = {"lap": 0, "place": 0, "since_s": 0.0, "since_utc": ""}
    for word in ({"go": True, "siblings": [7, 8]}, {**turn, "siblings": [8]}):
        ours.sendall(json.dumps(word).encode() + b"\n")
    channel = Channel(theirs)
    assert channel.siblings == ()
    with channel.phase("energy", timed=True):
        assert channel.siblings == (7, 8)
    with channel.slot(0):
        assert channel.siblings == (8,)
