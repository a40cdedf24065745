"""Scheduling of cells over workers: which may start, which may compute, and which has the next slot.

Up to `jobs` workers load and evaluate side by side. What is timed has the machine for itself: quantizing and
energy as a whole, latency round by round, in slots between those of the cells that it is compared with
(`slots.py`). All other workers are suspended meanwhile, so that neither `--jobs` nor what a method leaves
running changes a time; the clock of a worker that waits stands still.

All of that needs an executor with turns. On one without, cells are timed one by one, and the records say that
nothing is paired.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from qbench.cell import Cell
from qbench.results.store.folders import Run, write_record
from qbench.results.store.record import Record
from qbench.run.executors.driver import Driver
from qbench.run.executors.executor import Capability, Event, Executor, Job, cell_job
from qbench.run.executors.memory_admission import lacking
from qbench.run.executors.running_cell import RunningCell, ran_out_beside, record_of
from qbench.run.executors.running_job import RunningJob
from qbench.run.executors.slots import Group, groups
from qbench.run.executors.state import State
from qbench.run.planning.plan import Planned
from qbench.run.provenance.environment import utc_now
from qbench.run.worker.events import Phase
from qbench.run.worker.requests import Go, Grant

TICK_S = 1.0
"""Interval between refreshes of the display while nothing is timed; while something is, the parent sleeps."""


class Listener(Protocol):
    """Events of a run, for a progress display."""

    def begin(self, run: Run, planned: Sequence[Planned]) -> None: ...

    def phase(self, cell: Cell, name: str) -> None:
        """A cell entered a phase."""
        return

    def record(self, record: Record) -> None: ...

    def tick(self) -> None:
        """A second has passed in which nothing is timed."""
        return

    def note(self, text: str) -> None: ...


@dataclass
class Scheduler:
    """Runs cells on an executor and writes their records."""

    run: Run
    listener: Listener
    jobs: int = 1
    made_from: Mapping[str, str] = field(default_factory=dict)
    """Weights of a quantized checkpoint → those that it was made from, with which it is compared."""
    records: list[Record] = field(default_factory=list)

    def work(self, executor: Executor, cells: Sequence[Cell], done: Sequence[Cell] = ()) -> None:
        """Runs every cell; returns when the last has its record. `done` have theirs from before."""
        _Launch(self, executor, cells, done).work()

    def skip(self, cell: Cell, reason: str) -> None:
        """Records a cell that cannot run here by design."""
        now = utc_now()
        self.write(Record(cell, self.run.suite, self.run.name, "skipped", reason, None, now, now))

    def write(self, record: Record) -> None:
        write_record(self.run.folder, record)
        self.records.append(record)
        self.listener.record(record)


class _Launch:
    """The cells of one call, on one executor."""

    def __init__(
        self, scheduler: Scheduler, executor: Executor, cells: Sequence[Cell], done: Sequence[Cell]
    ) -> None:
        self.scheduler = scheduler
        self.driver = Driver(executor, self._heard)
        able = executor.capabilities
        self.turns, self.same_machine = Capability.TURNS in able, Capability.SAME_MACHINE in able
        alone = (
            None if self.turns else f"the executor {executor.name} takes no turns: each was timed by itself"
        )
        self.ahead = deque(groups(cells, done, scheduler.made_from, alone))
        """Groups with cells to start; the first may have live members already."""
        self.live: dict[Job, tuple[RunningCell, Group]] = {}

    def work(self) -> None:
        self.driver.run(lambda: not self.ahead and not self.live, self._act)

    def _act(self) -> float | None:
        """Starts cells and grants the machine; the longest time to wait then."""
        if not self.busy():
            self.scheduler.listener.tick()
        while found := self._next():
            self.start(*found)
        if self.turns:
            self.grant()
        return None if self.busy() else TICK_S

    def _next(self) -> tuple[Cell, Group] | None:
        """The cell to start now and its group; None while none may start."""
        running = [one for one, _ in self.live.values()]
        computing = sum(not one.waits for one in running)
        if not self.ahead or computing >= self._most_computing() or self.busy():
            return None
        group = self.ahead[0]
        if len(running) >= (
            1 if group.retried else max(self.scheduler.jobs, group.most if self.turns else 1)
        ):
            return None  # workers of the group before are still in memory
        if self.same_machine and (why := lacking([one.needs for one in running])):
            if len(group.members) == len(running):  # else those of the group before end first
                self.ahead[0] = group.split(f"no memory for one more worker: {why}")
            return None
        if len(group.waiting) == 1:
            self.ahead.popleft()
        return group.waiting.popleft(), group

    def _most_computing(self) -> int:
        """Workers side by side: one where they would share a machine and cannot take turns on it."""
        return 1 if self.same_machine and not self.turns else self.scheduler.jobs

    def start(self, cell: Cell, group: Group) -> None:
        running = RunningCell(cell_job(cell), cell=cell, retried=group.retried)
        self.live[running.job] = running, group
        if len(self.live) > 1:
            for resident, _ in self.live.values():
                resident.beside = True
        group.members[cell.id] = running
        self.driver.start(running)
        self.scheduler.listener.phase(cell, "start")

    def busy(self) -> bool:
        """True while a worker has the machine for itself, or waits until it can."""
        return any(running.busy or group.ready() for running, group in self.live.values())

    def grant(self) -> None:
        """Grants the machine to one worker once all the others wait too: the next slot of a block that has
        begun, else a whole phase, else the first slot of a group whose members have all come."""
        if any(not running.waits for running, _ in self.live.values()):
            return
        ready = [group for _, group in self.live.values() if group.ready()]
        alone = [running for running, _ in self.live.values() if _wants_machine(running)]
        amid = [group for group in ready if group.amid_block]
        if alone and not amid:
            self._give(alone[0], Go())
        elif ready:
            self._give(*(amid or ready)[0].next_slot())

    def _give(self, chosen: RunningCell, grant: Grant) -> None:
        for job, (running, _) in self.live.items():
            if running is not chosen:
                self.driver.executor.suspend(job)
        self.driver.grant(chosen, grant)

    def _heard(self, running: RunningJob, event: Event) -> None:
        cell, group = self.live[running.job]
        if isinstance(event, Phase):
            self.scheduler.listener.phase(cell.cell, event.name)
        if running.over:
            del self.live[running.job]
            self._end(cell, group)

    def _end(self, running: RunningCell, group: Group) -> None:
        """Writes the record, or gives the cell a second try where others may have held the memory."""
        record = record_of(self.scheduler.run, running, group.leave(running.cell))
        if ran_out_beside(running, record):
            self.ahead.append(group.retry(running.cell, record.reason or record.status))
        else:
            self.scheduler.write(record)


def _wants_machine(running: RunningCell) -> bool:
    return running.state in (State.AWAITS_MACHINE, State.AWAITS_MACHINE_AFTER)
