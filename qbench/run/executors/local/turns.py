"""`Group`: cells whose latencies are compared, and in which order their workers take turns.

Measured one after the other, two cells meet another temperature, another clock and other neighbours on the
machine, and what drifts in between reads as a difference of the methods. So the members of a group are loaded
at the same time and take turns: a lap is one round of every member, in an order drawn anew for each lap. What
drifts over minutes then falls on all of them alike, and rounds of one lap are neighbours in time, which makes
a paired comparison possible.

A member says with every turn that it asks for at which stage it is (`latency.STAGES`: compiling, where its
runtime asks for it, warm-up, rounds and the seconds outside the layers of its first prompt length and batch
size are stages 0 to 3, those of the next 4 to 7, and so on). Only the members that are furthest behind take
part in a lap: all wait until the last one is compiled and warm, and then time the same laps.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qbench.cell import Cell
from qbench.probes.latency.section import LatencySpec
from qbench.run.executors.local.running_cell import Flight
from qbench.run.provenance.clock import utc_now


def compared_key(cell: Cell, made_from: Mapping[str, str]) -> str:
    """Equal for cells whose latencies are compared; of its own for one that times nothing.

    `made_from` names the unquantized weights behind those of a quantized checkpoint.
    """
    if LatencySpec.key not in cell.sections:
        return f"not timed: {cell.id}"
    weights = made_from.get(cell.model.weights, cell.model.weights)
    return json.dumps(
        [weights, cell.dtype, cell.device, cell.sections[LatencySpec.key], cell.threads, cell.seed]
    )


@dataclass
class Group:
    """Cells that take turns: those still to be started, and those that are in their workers."""

    key: str
    waiting: deque[Cell]
    apart: dict[str, str] = field(default_factory=dict)
    """Cells that are compared with these and took no turns with them: id → why."""
    members: dict[str, Flight] = field(default_factory=dict)
    """Live ones by cell id; a member that ends, however it does, leaves."""
    retried: str | None = None
    """Why its one cell, which ran out of memory beside others, runs again without any other in memory."""
    took_turns: set[str] = field(default_factory=set)
    lap: int = -1
    _order: list[str] = field(default_factory=list)
    """Who is still to come in this lap, the next one last."""
    _place: int = 0
    _since_s: float | None = None
    """When the first lap began, on the clock that all processes share, and beside it as UTC."""
    _since_utc: str = ""

    @property
    def most(self) -> int:
        """How many workers these cells may have in memory at once (`latency.interleave`)."""
        return _interleave(self.waiting[0]) if self.waiting else 1

    def ready(self) -> bool:
        """Whether all that have rounds to come wait for a turn, and none is still to be started."""
        stages = [flight.stage for flight in self.members.values() if not flight.through]
        return not self.waiting and bool(stages) and None not in stages

    @property
    def amid_lap(self) -> bool:
        """Whether a lap has begun and is not over."""
        return any(name in self.members for name in self._order)

    def next_turn(self) -> tuple[Flight, dict[str, Any]]:
        """Whose turn it is, and what to tell it; only for a group that is ready."""
        self._order = [name for name in self._order if name in self.members]
        if not self._order:
            self._begin_lap()
        name = self._order.pop()
        self.took_turns.add(name)
        turn = {"lap": self.lap, "place": self._place, "since_s": self._since_s, "since_utc": self._since_utc}
        self._place += 1
        return self.members[name], turn

    def leave(self, cell: Cell) -> dict[str, Any]:
        """Takes a member out; what its record says of the others."""
        del self.members[cell.id]
        others = sorted(self.took_turns - {cell.id}) if cell.id in self.took_turns else []
        apart = {name: why for name, why in self.apart.items() if name not in (cell.id, *others)}
        return {"interleaved_with": others, "not_interleaved_with": apart}

    def retry(self, cell: Cell, reason: str) -> Group:
        """A group of its own for a cell that has left this one."""
        why = "it ran out of memory beside others and was measured again by itself"
        others = {*self.took_turns, *self.members, *(one.id for one in self.waiting)} - {cell.id}
        self.apart[cell.id] = why
        return Group(self.key, deque([cell]), {**self.apart, **dict.fromkeys(others, why)}, retried=reason)

    def split(self, why: str) -> Group:
        """Closes the group to the cells that were not started yet, which become a group of their own."""
        rest = Group(self.key, self.waiting, dict(self.apart))
        rest.apart |= dict.fromkeys(self.members, why)
        self.apart |= {cell.id: why for cell in self.waiting}
        self.waiting = deque()
        return rest

    def _begin_lap(self) -> None:
        if self._since_s is None:
            self._since_s, self._since_utc = time.perf_counter(), utc_now()
        self.lap, self._place = self.lap + 1, 0
        stages = {name: flight.stage for name, flight in self.members.items() if flight.stage is not None}
        behind = min(stages.values())
        self._order = sorted(name for name, stage in stages.items() if stage == behind)
        seed = next(iter(self.members.values())).cell.seed
        random.Random(f"{seed} {self.lap} {self.key}").shuffle(self._order)


def groups(
    cells: Sequence[Cell], done: Sequence[Cell] = (), made_from: Mapping[str, str] | None = None
) -> list[Group]:
    """The cells in groups of at most `latency.interleave`, as even as can be, by the place of their first.

    `done` are cells that have their record from an earlier launch: they are not measured again.
    """
    known = made_from or {}
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(compared_key(cell, known), []).append(cell)
    before: dict[str, dict[str, str]] = {}
    for cell in done:
        before.setdefault(compared_key(cell, known), {})[cell.id] = "it was measured in an earlier launch"
    found = [group for key, members in alike.items() for group in _chunks(key, members, before.get(key, {}))]
    place = {cell.id: index for index, cell in enumerate(cells)}
    return sorted(found, key=lambda group: place[group.waiting[0].id])


def _interleave(cell: Cell) -> int:
    latency = LatencySpec.of(cell)
    return latency.interleave if latency else 1


def _chunks(key: str, cells: list[Cell], before: dict[str, str]) -> list[Group]:
    most = _interleave(cells[0])
    count = math.ceil(len(cells) / most)
    ends = [round(index * len(cells) / count) for index in range(count + 1)]
    why = f"latency.interleave {most}: it took turns with others"
    made = []
    for start, end in itertools.pairwise(ends):
        apart = {cell.id: why for cell in [*cells[:start], *cells[end:]]}
        made.append(Group(key, deque(cells[start:end]), {**before, **apart}))
    return made
