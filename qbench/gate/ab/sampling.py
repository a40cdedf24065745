"""Lap after lap, until every timed comparison is decided or the budget is spent.

The first pass loads every pair, a batch of them at a time, in random order. A batch is timed lap by lap: a
lap is one errand of one unit on both sides, one right after the other, and a fair coin from the seed says
which side goes first. The units that are still open take laps round robin, in an order drawn anew each
time, until each has the laps that make one load count, and the batch as much time as it took to load; at
most its share of half of what is left of the budget.

Each later pass starts new servers and loads one batch anew, so that the luck of a process (where its memory
came to lie) is drawn again: only whole loads can say that something is worse. It is the pairs that look
worst by their laps so far, alone where one stands out; and for a part of the time those with the fewest
loads. Which pairs are chosen does not matter to what their laps prove (`qbench.gate.timing.process_starts`).

The budget counts the seconds of turns, lead-ins included; from the second pass on those of loading too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from qbench.gate.ab.block import Lap, take
from qbench.gate.ab.paired_run import Duel
from qbench.gate.ab.schedule import Schedule
from qbench.gate.ab.units import Unit
from qbench.gate.ab.versions import SIDES, Name, Side
from qbench.gate.ab.workers import Crew
from qbench.gate.timing.process_starts import FEWEST_BLOCKS
from qbench.run.executors.local.memory_admission import lacking

WORTH_LAPS = 20
"""Laps that a decision takes at least, about: what cannot afford so many waits for the others."""
SHOWN_LAPS = 5
"""Of a unit of which nothing is gated, in the first load; one where it takes long."""
OPTIONAL_SHARE = 1 / 3
"""Of a pair's part of the budget, for quantizing and for energy each."""
WORTH_LOADING = 0.25
"""No pass begins that could time for a smaller part of what its loading takes."""
CONFIRMING_LAPS = FEWEST_BLOCKS
"""A load that has not so many laps says nothing."""


class Family(Protocol):
    """What sampling asks of the statistics; `qbench.gate.timing.timed.TimedComparisons`."""

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

    crew: Crew
    sides: Mapping[Name, Side]
    family: Family
    duels: Sequence[Duel]
    budget_s: float
    seed: int
    suite: str
    most: int
    """Pairs in memory at a time, where there is room."""
    heard: Callable[[str], None] = lambda line: None
    """Told of every batch, a line."""
    fresh: bool = True
    """Whether every later pass has new servers."""
    restart_s: float = 0.0
    """What starting them takes, as far as it is known."""
    spent_s: float = 0.0
    passes: int = 0
    _chance: random.Random = field(init=False)
    _end_s: float = 0.0
    """Of the pass."""
    _schedule: Schedule = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(f"gate {self.seed}")
        self._schedule = Schedule(self.most)

    def run(self) -> None:
        """Measures every pair once, and goes on with those that are open."""
        waiting = list(self.duels)
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

    def _next(self) -> list[Duel]:
        """What the next pass loads."""
        return self._schedule.choose(
            {duel: self._urgency(duel) for duel in self.duels if self._goes_on(duel)}
        )

    def _urgency(self, duel: Duel) -> float:
        return max(self.family.urgency(unit.key) for unit in self.open_units(duel) if unit.thresholds)

    def _of_pass(self, waiting: Sequence[Duel]) -> float:
        """Seconds for one pass: half of what is left, unless the rest would pay no other."""
        left_s = self.budget_s - self.spent_s
        return left_s / 2 if left_s / 2 > self._cost_of_loading(waiting) else left_s

    @property
    def exhausted(self) -> bool:
        return self.spent_s >= self.budget_s

    def open_units(self, duel: Duel, load: int | None = None) -> list[Unit]:
        """Units for which another lap would help; of this load, if it is given."""
        return [one for one in duel.units if one.key not in duel.closed and self._open(duel, one, load)]

    def _open(self, duel: Duel, unit: Unit, load: int | None) -> bool:
        if unit.thresholds:
            return self.family.open(unit.key, load)
        most = 1 if self._costly(duel, unit) else SHOWN_LAPS
        return duel.loads <= 1 and duel.laps[unit.key] < most

    def _goes_on(self, duel: Duel) -> bool:
        """Whether another load of the pair can decide anything."""
        well = not duel.died and all(status == "ok" for status in duel.statuses().values())
        open_ = any(unit.thresholds for unit in self.open_units(duel))
        return not self.exhausted and well and duel.apart is None and open_

    def _worth_loading(self, waiting: Sequence[Duel]) -> bool:
        """Whether what is left of the budget is worth loading these again for."""
        left_s = self.budget_s - self.spent_s
        return left_s > self._cost_of_loading(waiting)

    def _cost_of_loading(self, duels: Sequence[Duel]) -> float:
        """Seconds that must be left for another load of these to be worth it."""
        restart_s = self.restart_s if self.fresh else 0.0
        return (1 + WORTH_LOADING) * (restart_s + sum(duel.load_s for duel in duels))

    def _batch(self, waiting: list[Duel]) -> list[Duel]:
        """Loads, times and ends the next few pairs; returns those that wait on."""
        batch: list[Duel] = []
        while waiting and len(batch) < self.most and (not batch or self._room()):
            duel = waiting.pop(0)
            self._load(duel)
            if batch and duel.ran_out_beside is not None:  # other pairs may have held what it lacks
                duel.forget(self.crew)
                duel.loads -= 1
                waiting.insert(0, duel)
                break
            batch.append(duel)
        share = (self._end_s - self.spent_s) * len(batch) / (len(batch) + len(waiting))
        self.heard(self._line(batch, waiting))
        least = max(sum(duel.load_s for duel in batch), CONFIRMING_LAPS * sum(duel.lap_s for duel in batch))
        self._time(batch, max(share, least))
        for duel in batch:
            why = duel.ran_out_beside
            if why is None or len(duel.lanes) < 2:
                duel.land(self.crew, self.suite)
            else:
                self._apart(duel, why)
        return waiting

    def _load(self, duel: Duel) -> None:
        duel.load(self.crew, self.sides, self._order())
        if self.passes > 1:
            self.spent_s += duel.load_s

    def _restart(self) -> None:
        began = self.crew.clock()
        for name in self._order():
            self.sides[name].restart()
        self.restart_s = self.crew.clock() - began
        self.spent_s += self.restart_s

    def _apart(self, duel: Duel, why: str) -> None:
        """Both sides do not fit in memory together: each by itself, and nothing of the pair is timed."""
        duel.forget(self.crew)
        duel.apart = f"the two sides do not fit in memory together ({why})"
        for name in self._order():
            duel.load(self.crew, self.sides, (name,), turns=False)
            duel.land(self.crew, self.suite)

    def _time(self, batch: Sequence[Duel], limit_s: float) -> None:
        """Laps of all open units of the batch, round robin, until none is open or the time is over."""
        end_s = min(self.spent_s + limit_s, self.budget_s)
        paid_s = self.spent_s + sum(duel.load_s for duel in batch)
        while self.spent_s < end_s:
            paid = self.spent_s >= paid_s  # what took long to load is worth as many laps
            units = [
                (duel, unit)
                for duel in batch
                if duel.alive
                for unit in self.open_units(duel, duel.loads if paid else None)
            ]
            if not units:
                return
            self._chance.shuffle(units)
            for duel, unit in self._cheap(units):
                if self.exhausted:
                    return
                if duel.alive:
                    self._lap(duel, unit)

    def _lap(self, duel: Duel, unit: Unit) -> None:
        """One errand on each side; nothing is kept of a lap that one side did not finish."""
        lap = take(self.crew, duel.lanes, unit, self._order())
        self.spent_s += lap.spent_s
        if lap.died:
            return
        if lap.jumped:
            duel.leave_out(unit)
        elif not lap.lacking:
            duel.keep(unit, lap)
            self._tell(duel, unit, lap)
        elif duel.lacks_only_here(unit, lap):
            self._tell(duel, unit, lap)

    def _tell(self, duel: Duel, unit: Unit, lap: Lap) -> None:
        if unit.thresholds:
            self.family.add_block(unit.key, lap.numbers["baseline"], lap.numbers["candidate"], duel.loads)

    def _cheap(self, units: list[tuple[Duel, Unit]]) -> list[tuple[Duel, Unit]]:
        """What takes so long that its laps would cost the others theirs waits until those are decided."""
        return [one for one in units if not self._costly(*one)] or units

    def _costly(self, duel: Duel, unit: Unit) -> bool:
        """Quantizing and energy are one long errand a lap.

        Judged by what the baseline takes: a candidate that takes longer does not push itself out.
        """
        if unit.kind == "round" or not duel.laps[unit.key]:
            return False
        share_s = self.budget_s / len(self.duels) * OPTIONAL_SHARE
        return WORTH_LAPS * 2 * duel.baseline_s[unit.key] > share_s

    def _order(self) -> tuple[Name, ...]:
        """Who goes first: a fair coin."""
        return SIDES if self._chance.getrandbits(1) else (SIDES[1], SIDES[0])

    def _room(self) -> bool:
        """For two more workers like those in memory."""
        needs = [lane.flight.needs for lane in self.crew.lanes if not lane.ended]
        both: list[dict[str, int | None]] = [
            {
                name: value * (1 if name == "device_free" else 2)
                for name, value in one.items()
                if value is not None
            }
            for one in needs
        ]
        return lacking(both) is None

    def _line(self, batch: Sequence[Duel], waiting: Sequence[Duel]) -> str:
        names = ", ".join(duel.words for duel in batch[:3]) + (" …" if len(batch) > 3 else "")
        left = f", {len(waiting)} to come" if waiting else ""
        return f"pass {self.passes}: {names}{left}; {self.spent_s:.0f} of {self.budget_s:g} s spent"
