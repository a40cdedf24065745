"""Scheduling cells over workers: who may start, who may compute, and whose turn it is.

Up to `jobs` workers load and evaluate side by side. What is timed has the machine for itself: quantizing and
energy as a whole, latency round by round, in turns with the cells that it is compared with (`turns.py`). All
other workers are stopped meanwhile, so that neither `--jobs` nor what a method leaves running changes a time;
the clock of a worker that waits stands still.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from qbench.cell import Cell
from qbench.results.store.folders import Run, write_record
from qbench.results.store.record import Record
from qbench.run.executors.local.memory_admission import lacking
from qbench.run.executors.local.pool import Job, Pool
from qbench.run.executors.local.running_cell import Flight, ran_out_beside, record_of
from qbench.run.executors.local.turns import Group, groups
from qbench.run.planning.plan import Planned
from qbench.run.provenance.clock import utc_now

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
class Schedule:
    """Runs cells and writes their records."""

    run: Run
    listener: Listener
    jobs: int = 1
    made_from: Mapping[str, str] = field(default_factory=dict)
    """Weights of a quantized checkpoint → those that it was made from, with which it is compared."""
    records: list[Record] = field(default_factory=list)
    _ahead: deque[Group] = field(default_factory=deque)
    """Groups with cells to start; the first may have live members already."""
    _flights: dict[Job, tuple[Flight, Group]] = field(default_factory=dict)

    def work(self, pool: Pool, cells: Sequence[Cell], done: Sequence[Cell] = ()) -> None:
        """Runs every cell; returns when the last has its record. `done` have theirs from before."""
        self._ahead.extend(groups(cells, done, self.made_from))
        while self._ahead or self._flights:
            while cell := self._next():
                self._start(pool, *cell)
            self._grant()
            for job in pool.wait(None if self._busy() else TICK_S):
                self._hear(job)
            if not self._busy():
                self.listener.tick()

    def skip(self, cell: Cell, reason: str) -> None:
        """Records a cell that cannot run here by design."""
        now = utc_now()
        self._write(Record(cell, self.run.suite, self.run.name, "skipped", reason, None, now, now))

    def _next(self) -> tuple[Cell, Group] | None:
        """The cell to start now and its group; None while none may start."""
        flights = [flight for flight, _ in self._flights.values()]
        computing = sum(not flight.waits for flight in flights)
        if not self._ahead or computing >= self.jobs or self._busy():
            return None
        group = self._ahead[0]
        if len(flights) >= (1 if group.retried else max(self.jobs, group.most)):
            return None  # workers of the group before are still in memory
        if why := lacking([flight.needs for flight in flights]):
            if len(group.members) == len(flights):  # else those of the group before end first
                self._ahead[0] = group.split(f"no memory for one more worker: {why}")
            return None
        if len(group.waiting) == 1:
            self._ahead.popleft()
        return group.waiting.popleft(), group

    def _start(self, pool: Pool, cell: Cell, group: Group) -> None:
        flight = Flight(cell, retried=group.retried)
        job = pool.start({"kind": "cell", "cell": cell.to_dict()}, cell.timeout_s)
        self._flights[job] = flight, group
        if len(self._flights) > 1:
            for resident, _ in self._flights.values():
                resident.beside = True
        group.members[cell.id] = flight
        self.listener.phase(cell, "start")

    def _busy(self) -> bool:
        """Whether a worker has the machine for itself, or waits until it can."""
        flights = self._flights.values()
        return any(
            flight.holds or flight.wants or flight.turning or group.ready() for flight, group in flights
        )

    def _grant(self) -> None:
        """Gives the machine to one worker once all the others wait too: whoever's turn it is in a lap that
        has begun, else one that wants it for a whole phase, else a group whose members have all come."""
        if any(not flight.waits for flight, _ in self._flights.values()):
            return
        ready = [group for _, group in self._flights.values() if group.ready()]
        alone = [flight for flight, _ in self._flights.values() if flight.wants]
        amid = [group for group in ready if group.amid_lap]
        if alone and not amid:
            self._go(alone[0], {"go": True})
        elif ready:
            self._go(*(amid or ready)[0].next_turn())

    def _go(self, chosen: Flight, message: dict[str, Any]) -> None:
        for job, (flight, _) in self._flights.items():
            if flight is not chosen:
                job.stop()
        job = next(job for job, (flight, _) in self._flights.items() if flight is chosen)
        chosen.granted()
        job.go_on()
        job.send({**message, "siblings": self._siblings(chosen)})

    def _siblings(self, chosen: Flight) -> list[int]:
        """Process ids of the other workers on the same device, which are ours and not foreign ones."""
        return [
            job.pid
            for job, (flight, _) in self._flights.items()
            if flight is not chosen and flight.cell.device == chosen.cell.device and job.pid is not None
        ]

    def _hear(self, job: Job) -> None:
        flight, group = self._flights[job]
        while job.events:
            event = job.events.popleft()
            if event["event"] == "want":
                job.hold()
            flight.note(event)
            if event["event"] == "phase":
                self.listener.phase(flight.cell, event["name"])
        if job.exit_code is not None:
            del self._flights[job]
            self._land(flight, job, group)

    def _land(self, flight: Flight, job: Job, group: Group) -> None:
        """The end of a worker: its record, or a second try where others may have held what it lacked."""
        record = record_of(self.run, flight, job, group.leave(flight.cell))
        if ran_out_beside(flight, record):
            self._ahead.append(group.retry(flight.cell, record.reason or record.status))
        else:
            self._write(record)

    def _write(self, record: Record) -> None:
        write_record(self.run.folder, record)
        self.records.append(record)
        self.listener.record(record)
