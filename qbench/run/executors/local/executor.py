"""`LocalExecutor`: workers of one machine, forked from a warm server, that can take turns."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from qbench.run.executors.executor import Capability, Ended, Event, Executor, Job
from qbench.run.executors.local.pool import Pool
from qbench.run.executors.local.process import WorkerProcess
from qbench.run.provenance.environment import oom_kills
from qbench.run.worker.events import Ready, Want
from qbench.run.worker.requests import Grant


@dataclass(frozen=True)
class _Worker:
    process: WorkerProcess
    oom_kills: int | None
    """Processes that the system had killed for memory when this one began."""


class LocalExecutor(Executor):
    """The executor `local`."""

    name = "local"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    def __init__(self, python: str | None = None) -> None:
        """`python` names the interpreter of another environment, whose own qbench then does the work."""
        self.pool = Pool(python)
        self._workers: dict[Job, _Worker] = {}

    @property
    def facts(self) -> Ready:
        """The server's facts of its version and its start."""
        return self.pool.facts

    def start(self, job: Job) -> None:
        kills = oom_kills()
        self._workers[job] = _Worker(self.pool.start(job.work, job.timeout_s), kills)

    def wait(self, timeout_s: float | None = None) -> Sequence[tuple[Job, Event]]:
        news = self.pool.wait(timeout_s)
        jobs = {id(worker.process): job for job, worker in self._workers.items()}
        return [(jobs[id(process)], event) for process in news for event in self._events(jobs[id(process)])]

    def stop(self, job: Job) -> None:
        if job in self._workers:
            self.pool.kill(self._workers[job].process)

    def grant(self, job: Job, grant: Grant, timeout_s: float | None = None) -> None:
        process = self._workers[job].process
        if timeout_s is not None:
            process.renew(timeout_s)
        process.go_on()
        process.send(grant)

    def suspend(self, job: Job) -> None:
        if job in self._workers:
            self._workers[job].process.suspend()

    def process_ids(self, jobs: Iterable[Job]) -> tuple[int, ...]:
        found = [self._workers[job].process.pid for job in jobs if job in self._workers]
        return tuple(pid for pid in found if pid is not None)

    def close(self) -> None:
        self.pool.close()

    def _events(self, job: Job) -> list[Event]:
        process = self._workers[job].process
        events: list[Event] = [*process.events]
        process.events.clear()
        if any(isinstance(event, Want) for event in events):
            process.hold()
        if process.exit_code is not None:
            events.append(_ended(self._workers.pop(job)))
        return events


def _ended(worker: _Worker) -> Ended:
    process = worker.process
    killed = process.exit_code == -signal.SIGKILL
    return Ended(
        exit_code=process.exit_code,
        timed_out=process.timed_out,
        out_of_memory=killed and worker.oom_kills != oom_kills(),
        peak_rss_bytes=process.peak_rss_bytes,
        log=process.log_tail(),
        pid=process.pid,
    )
