"""`Executor`: runs jobs in workers and returns their typed events.

A job is one worker's work: a message that tells the worker what to do, and what the worker needs. An executor
starts jobs, returns their events, and stops them. Nothing else is assumed: workers may run on other machines,
without a shared folder, a process id that means anything here, or a clock that can be compared with ours.
What an executor can do beyond that is a `Capability`, which callers ask for.

To add an executor, write one file with a subclass of `Executor` and register it under the entry-point group
`qbench.executors`; its name there is its name for `qbench run --executor`.
"""

from __future__ import annotations

import functools
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Self

from qbench.cell import Cell
from qbench.errors import QbenchError
from qbench.json_object import JsonObject
from qbench.probes.registry import probes
from qbench.run.worker.events import Want, WorkerEvent
from qbench.run.worker.requests import Go, Grant, MeasureCell, Slot, Work


class Capability(Enum):
    """An ability that not every executor has."""

    STOP = "stop"
    """`stop` ends a running job."""
    TURNS = "turns"
    """Jobs side by side are on one machine and take turns: an event `Want` is answered by `grant`, and
    `suspend` halts a job that waits, with all its threads. Only then are times of several jobs paired."""
    SAME_MACHINE = "same_machine"
    """All jobs run on this machine: its free memory is theirs, and its peak rates hold for them."""
    SHARED_CACHE = "shared_cache"
    """A job finds in the cache folder what an earlier job kept there, such as base outputs."""


@dataclass(frozen=True, eq=False)
class Job:
    """One worker's work and its needs. The object itself names the job in every call and event."""

    work: Work
    timeout_s: float
    """The executor ends the job after so many seconds of its own; waiting for a grant does not count."""
    device: str = "cpu"
    """Device as in a cell: `cpu` or `cuda:N`."""
    memory_limit: int | None = None
    """Bytes; the worker enforces it on itself, an executor may reserve it."""
    exclusive: bool = False
    """Something of the job is timed: an executor without turns gives it a machine, or a whole GPU, alone."""


def cell_job(cell: Cell) -> Job:
    """The job that measures a cell."""
    timed = bool(cell.layers) or any(
        probe.clock != "none" and probe.asked(cell) for probe in probes().values()
    )
    return Job(MeasureCell(cell.to_dict()), cell.timeout_s, cell.device, cell.memory_limit, timed)


@dataclass(frozen=True)
class Ended:
    """The last event of a job: its worker is gone."""

    exit_code: int | None = None
    """Negative for the signal that killed the worker; None where the executor lost it."""
    timed_out: bool = False
    out_of_memory: bool = False
    """The system killed the worker because memory ran out."""
    peak_rss_bytes: int = 0
    log: str = ""
    """The end of what the worker printed."""
    why: str | None = None
    """Loss of the worker in the executor's own words, such as a node that died."""
    pid: int | None = None
    """Process id on the worker's machine, for the record."""


Event = WorkerEvent | Ended


class Executor(ABC):
    """Runs jobs; a context manager that leaves no worker behind."""

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    @abstractmethod
    def start(self, job: Job) -> None:
        """Begins the job, at once or as soon as there is a place for it."""

    @abstractmethod
    def wait(self, timeout_s: float | None = None) -> Sequence[tuple[Job, Event]]:
        """Sleeps until a job has news or `timeout_s` has passed; returns events in the order of each job.

        The last event of every job is `Ended`. An executor without `TURNS` answers `Want` by itself
        (`Grants`) and passes neither `Want` nor `Release` on.
        """

    def stop(self, job: Job) -> None:
        """Ends the worker and everything that it started; its event `Ended` follows. Needs `STOP`."""
        raise self._lacks(Capability.STOP)

    def grant(self, job: Job, grant: Grant, timeout_s: float | None = None) -> None:
        """Lets a job that waits go on. `timeout_s`: its limit from now on. Needs `TURNS`."""
        raise self._lacks(Capability.TURNS)

    def suspend(self, job: Job) -> None:
        """Halts a job that waits until it is granted the machine. Needs `TURNS`."""
        raise self._lacks(Capability.TURNS)

    def process_ids(self, jobs: Iterable[Job]) -> tuple[int, ...]:
        """Process ids of the jobs' workers, by which a worker tells its siblings on a GPU from strangers;
        none where they do not take turns on one machine."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """Ends all workers."""

    @functools.cached_property
    def peak_rates(self) -> dict[tuple[str, int | None], JsonObject]:
        """Device and threads → measured bandwidth and GEMM rates, for all runs that share this executor."""
        return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _lacks(self, capability: Capability) -> QbenchError:
        return QbenchError(f"executor {self.name!r} lacks the capability {capability.value!r}")


class Grants:
    """Grants for a worker that has its machine for itself; for executors without turns.

    Lives on the worker's machine: the clock of its slots is the worker's. Its rounds are paired with none.
    """

    def __init__(self) -> None:
        self._blocks = itertools.count()
        self._since_s = time.perf_counter()

    def answer(self, want: Want) -> Grant:
        if want.stage is None:
            return Go()
        return Slot(next(self._blocks), 0, self._since_s, "")
