"""`Driver`: the one loop that hears an executor's events and brings running jobs up to date."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from qbench.run.executors.executor import Capability, Event, Executor, Job
from qbench.run.executors.running_job import RunningJob
from qbench.run.worker.requests import Go, Grant

Heard = Callable[[RunningJob, Event], None]


@dataclass(eq=False)
class Driver:
    """The jobs of one executor that somebody here waits for."""

    executor: Executor
    heard: Heard = lambda running, event: None
    """Called with every event, once the job has taken it in."""
    running: dict[Job, RunningJob] = field(default_factory=dict)

    def start(self, running: RunningJob) -> None:
        self.running[running.job] = running
        self.executor.start(running.job)

    def run(self, until: Callable[[], bool], act: Callable[[], float | None] = lambda: None) -> None:
        """Hears events until a condition holds. `act` is called before each wait, may start jobs and grant
        the machine, and returns the longest time to wait."""
        while not until():
            for job, event in self.executor.wait(act()):
                self._hear(job, event)

    def grant(self, running: RunningJob, grant: Grant, timeout_s: float | None = None) -> None:
        """Grants the machine to a job that waits; `run` must have found it waiting."""
        beside = [job for job in self.running if job is not running.job and job.device == running.job.device]
        siblings = (*grant.siblings, *self.executor.process_ids(beside))
        running.granted()
        self.executor.grant(running.job, replace(grant, siblings=siblings), timeout_s)

    def _hear(self, job: Job, event: Event) -> None:
        running = self.running.get(job)
        if running is None:  # of a job that nobody waits for
            return
        understood = running.note(event)
        if not understood and Capability.STOP in self.executor.capabilities:
            self.executor.stop(job)
        if running.over:
            del self.running[job]
        self.heard(running, event)


def run_alone(executor: Executor, running: RunningJob, heard: Heard = lambda running, event: None) -> None:
    """Runs one job from its start to its end; the machine is granted to it whenever it asks."""
    driver = Driver(executor, heard)
    driver.start(running)

    def act() -> None:
        if running.waits:
            driver.grant(running, Go())

    driver.run(lambda: running.over, act)
