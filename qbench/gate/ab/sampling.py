"""Sampling of blocks, until every timed comparison is decided or the budget is spent.

The first pass loads every pair, a batch of them at a time, in random order. A batch is timed block by block:
a block is one request of one unit to both versions, one right after the other, and a fair coin from the seed
says which goes first. The units that are still open take blocks round robin, in an order drawn anew each
time, until each has the blocks that make one load count, and the batch as much time as it took to load; at
most its share of half of what is left of the budget.

Each later pass starts new servers and loads one batch anew, so that random effects of a process (such as the
addresses of its memory) are drawn again: only whole loads can show that something is worse. It is the pairs
that look worst by their blocks so far, alone where one stands out; and for a part of the time those with the
fewest loads. Which pairs are chosen does not matter to what their blocks prove
(`qbench.gate.timing.process_starts`).

The budget counts the seconds of slots, lead-ins included; from the second pass on those of loading too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from qbench.gate.ab.paired_run import Block, PairedRun, run_block
from qbench.gate.ab.schedule import Schedule
from qbench.gate.ab.units import Unit
from qbench.gate.ab.versions import ROLES, Role, Version
from qbench.gate.ab.workers import Workers
from qbench.gate.timing.process_starts import FEWEST_BLOCKS
from qbench.run.executors.memory_admission import lacking

WORTH_BLOCKS = 20
"""Least number of blocks of a decision, about: units that cannot afford so many wait for the others."""
SHOWN_BLOCKS = 5
"""Blocks of a unit of which nothing is gated, in the first load; one where it takes long."""
OPTIONAL_SHARE = 1 / 3
"""Share of a pair's part of the budget, for quantizing and for energy each."""
WORTH_LOADING = 0.25
"""Least share of its loading time that a pass must have for timing."""


class Family(Protocol):
    """The statistics that sampling asks; `qbench.gate.timing.timed.TimedComparisons`."""

    def open(self, cell_id: str, start: int | None = None) -> bool: ...
    def urgency(self, cell_id: str) -> float: ...
    def add_block(
        self,
        cell_id: str,
        baseline: Mapping[str, float | None],
        candidate: Mapping[str, float | None],
        start: int = 0,
    ) -> None: ...


@dataclass
class Sampling:
    """The timed half of a gate."""

    workers: Workers
    versions: Mapping[Role, Version]
    family: Family
    paired_runs: Sequence[PairedRun]
    budget_s: float
    seed: int
    suite: str
    most: int
    """Pairs in memory at a time, where there is room."""
    heard: Callable[[str], None] = lambda line: None
    """Called with a line for every batch."""
    fresh: bool = True
    """True where every later pass has new servers."""
    restart_s: float = 0.0
    """Duration of their start, as far as it is known."""
    spent_s: float = 0.0
    passes: int = 0
    _chance: random.Random = field(init=False)
    _end_s: float = 0.0
    """End of the pass."""
    _schedule: Schedule = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(f"gate {self.seed}")
        self._schedule = Schedule(self.most)

    def run(self) -> None:
        """Measures every pair once, and goes on with those that are open."""
        waiting = list(self.paired_runs)
        while waiting:
            began_s = self.spent_s
            self._chance.shuffle(waiting)
            self.passes += 1
            if self.passes > 1 and self.fresh:
                self._restart()
            self._end_s = self.spent_s + self._of_pass(waiting)
            while waiting:
                waiting = self._batch(waiting)
            self._schedule.ended(self.spent_s - began_s)
            waiting = self._next()
            if not waiting or not self._worth_loading(waiting):
                return

    def _next(self) -> list[PairedRun]:
        """Pairs that the next pass loads."""
        return self._schedule.choose(
            {paired: self._urgency(paired) for paired in self.paired_runs if self._goes_on(paired)}
        )

    def _urgency(self, paired: PairedRun) -> float:
        return max(self.family.urgency(unit.key) for unit in self.open_units(paired) if unit.thresholds)

    def _of_pass(self, waiting: Sequence[PairedRun]) -> float:
        """Seconds for one pass: half of what is left, unless the rest would pay no other."""
        left_s = self.budget_s - self.spent_s
        return left_s / 2 if left_s / 2 > self._cost_of_loading(waiting) else left_s

    @property
    def exhausted(self) -> bool:
        return self.spent_s >= self.budget_s

    def open_units(self, paired: PairedRun, load: int | None = None) -> list[Unit]:
        """Units for which another block would help; in this load, if it is given."""
        return [one for one in paired.units if one.key not in paired.closed and self._open(paired, one, load)]

    def _open(self, paired: PairedRun, unit: Unit, load: int | None) -> bool:
        if unit.thresholds:
            return self.family.open(unit.key, load)
        most = 1 if self._costly(paired, unit) else SHOWN_BLOCKS
        return paired.loads <= 1 and paired.blocks[unit.key] < most

    def _goes_on(self, paired: PairedRun) -> bool:
        """True where another load of the pair can decide anything."""
        well = not paired.died and all(status == "ok" for status in paired.statuses().values())
        open_ = any(unit.thresholds for unit in self.open_units(paired))
        return not self.exhausted and well and paired.apart is None and open_

    def _worth_loading(self, waiting: Sequence[PairedRun]) -> bool:
        """True where what is left of the budget is worth loading these again for."""
        left_s = self.budget_s - self.spent_s
        return left_s > self._cost_of_loading(waiting)

    def _cost_of_loading(self, paired_runs: Sequence[PairedRun]) -> float:
        """Seconds that must be left for another load of these to be worth it."""
        restart_s = self.restart_s if self.fresh else 0.0
        return (1 + WORTH_LOADING) * (restart_s + sum(paired.load_s for paired in paired_runs))

    def _batch(self, waiting: list[PairedRun]) -> list[PairedRun]:
        """Loads, times and ends the next few pairs; returns those that wait on."""
        batch: list[PairedRun] = []
        while waiting and len(batch) < self.most and (not batch or self._room()):
            paired = waiting.pop(0)
            self._load(paired)
            if batch and paired.ran_out_beside is not None:  # other pairs may have held what it lacks
                paired.forget(self.workers)
                paired.loads -= 1
                waiting.insert(0, paired)
                break
            batch.append(paired)
        share = (self._end_s - self.spent_s) * len(batch) / (len(batch) + len(waiting))
        self.heard(self._line(batch, waiting))
        least = max(
            sum(paired.load_s for paired in batch), FEWEST_BLOCKS * sum(paired.block_s for paired in batch)
        )
        self._time(batch, max(share, least))
        for paired in batch:
            why = paired.ran_out_beside
            if why is None or len(paired.handles) < 2:
                paired.land(self.workers, self.suite)
            else:
                self._apart(paired, why)
        return waiting

    def _load(self, paired: PairedRun) -> None:
        paired.load(self.workers, self.versions, self._order())
        if self.passes > 1:
            self.spent_s += paired.load_s

    def _restart(self) -> None:
        began = self.workers.clock()
        for name in self._order():
            self.versions[name].restart()
        self.restart_s = self.workers.clock() - began
        self.spent_s += self.restart_s

    def _apart(self, paired: PairedRun, why: str) -> None:
        """Runs each version by itself, where both do not fit in memory together; nothing of the pair is
        timed."""
        paired.forget(self.workers)
        paired.apart = f"the two versions do not fit in memory together ({why})"
        for name in self._order():
            paired.load(self.workers, self.versions, (name,), requests=False)
            paired.land(self.workers, self.suite)

    def _time(self, batch: Sequence[PairedRun], limit_s: float) -> None:
        """Blocks of all open units of the batch, round robin, until none is open or the time is over."""
        end_s = min(self.spent_s + limit_s, self.budget_s)
        paid_s = self.spent_s + sum(paired.load_s for paired in batch)
        while self.spent_s < end_s:
            paid = self.spent_s >= paid_s  # what took long to load is worth as many blocks
            units = [
                (paired, unit)
                for paired in batch
                if paired.alive
                for unit in self.open_units(paired, paired.loads if paid else None)
            ]
            if not units:
                return
            self._chance.shuffle(units)
            for paired, unit in self._cheap(units):
                if self.exhausted:
                    return
                if paired.alive:
                    self._block(paired, unit)

    def _block(self, paired: PairedRun, unit: Unit) -> None:
        """One request to each version; nothing is kept of a block that one of them did not finish."""
        block = run_block(self.workers, paired.handles, unit, self._order())
        self.spent_s += block.spent_s
        if block.died:
            return
        if block.jumped:
            paired.leave_out(unit)
        elif not block.lacking:
            paired.keep(unit, block)
            self._tell(paired, unit, block)
        elif paired.lacks_only_here(unit, block):
            self._tell(paired, unit, block)

    def _tell(self, paired: PairedRun, unit: Unit, block: Block) -> None:
        if unit.thresholds:
            self.family.add_block(
                unit.key, block.numbers["baseline"], block.numbers["candidate"], paired.loads
            )

    def _cheap(self, units: list[tuple[PairedRun, Unit]]) -> list[tuple[PairedRun, Unit]]:
        """Open units without those that would cost the others their blocks, unless only such are left."""
        return [one for one in units if not self._costly(*one)] or units

    def _costly(self, paired: PairedRun, unit: Unit) -> bool:
        """True for quantizing and energy, whose blocks are one long request, where they take too long.

        The baseline's time decides: a candidate that takes longer does not push itself out.
        """
        if unit.kind == "round" or not paired.blocks[unit.key]:
            return False
        share_s = self.budget_s / len(self.paired_runs) * OPTIONAL_SHARE
        return WORTH_BLOCKS * 2 * paired.baseline_s[unit.key] > share_s

    def _order(self) -> tuple[Role, ...]:
        """Order of the versions, by a fair coin."""
        return ROLES if self._chance.getrandbits(1) else (ROLES[1], ROLES[0])

    def _room(self) -> bool:
        """True where memory holds two more workers like those in it."""
        needs = [handle.running.needs for handle in self.workers.handles if not handle.ended]
        both: list[dict[str, int | None]] = [
            {
                name: value * (1 if name == "device_free" else 2)
                for name, value in one.items()
                if value is not None
            }
            for one in needs
        ]
        return lacking(both) is None

    def _line(self, batch: Sequence[PairedRun], waiting: Sequence[PairedRun]) -> str:
        names = ", ".join(paired.words for paired in batch[:3]) + (" …" if len(batch) > 3 else "")
        left = f", {len(waiting)} to come" if waiting else ""
        return f"pass {self.passes}: {names}{left}; {self.spent_s:.0f} of {self.budget_s:g} s spent"
