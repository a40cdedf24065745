"""`Group`: cells whose latencies are compared, and the order in which their workers get slots for their
rounds.

Measured one after the other, two cells meet another temperature, another clock and other neighbours on the
machine, and a drift in between reads as a difference of the methods. So the members of a group are loaded at
the same time and take turns: a block is one round of every member, in an order drawn anew for each block. A
drift over minutes then affects all of them alike, and rounds of one block are neighbours in time, which makes
a paired comparison possible.

A member names its stage with every slot that it asks for (`timing.STAGES`: compiling, where its runtime asks
for it, warm-up, rounds and the seconds outside the layers of its first workload are stages 0 to 3, those of
the next 4 to 7, and so on). Only the members that are furthest behind take part in a block: all wait until
the last one is compiled and warm, and then time the same blocks.

An executor without turns pairs nothing: each cell is then a group of its own.
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

from qbench.cell import Cell
from qbench.json_object import JsonObject
from qbench.probes.latency.section import LatencySpec
from qbench.run.executors.running_cell import RunningCell
from qbench.run.executors.state import BEFORE_ROUNDS_END
from qbench.run.provenance.environment import utc_now
from qbench.run.worker.requests import Slot


def compared_key(cell: Cell, made_from: Mapping[str, str]) -> str:
    """Key that is equal for cells whose latencies are compared; unique for one that times nothing.

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
    """Cells that are compared with these and took no turns with them: id → reason."""
    members: dict[str, RunningCell] = field(default_factory=dict)
    """Live ones by cell id; a member that ends, however it does, leaves."""
    retried: str | None = None
    """Reason that its one cell, which ran out of memory beside others, runs again alone in memory."""
    took_turns: set[str] = field(default_factory=set)
    block: int = -1
    _order: list[str] = field(default_factory=list)
    """Members still to come in this block, the next one last."""
    _place: int = 0
    _since_s: float | None = None
    """Beginning of the first block, on the clock that all processes of the machine share."""
    _since_utc: str = ""

    @property
    def most(self) -> int:
        """Limit of workers of these cells in memory at once (`latency.interleave`)."""
        return _interleave(self.waiting[0]) if self.waiting else 1

    def ready(self) -> bool:
        """True once all that have rounds to come wait for a slot, and none is still to be started."""
        stages = [one.stage for one in self.members.values() if one.state in BEFORE_ROUNDS_END]
        return not self.waiting and bool(stages) and None not in stages

    @property
    def amid_block(self) -> bool:
        """True while a block has begun and is not over."""
        return any(name in self.members for name in self._order)

    def next_slot(self) -> tuple[RunningCell, Slot]:
        """The member whose slot is next, and the grant; only for a group that is ready."""
        self._order = [name for name in self._order if name in self.members]
        if not self._order:
            self._begin_block()
        name = self._order.pop()
        self.took_turns.add(name)
        assert self._since_s is not None, "a block has begun"
        slot = Slot(self.block, self._place, self._since_s, self._since_utc)
        self._place += 1
        return self.members[name], slot

    def leave(self, cell: Cell) -> JsonObject:
        """Takes a member out; returns the entries of its record on the others."""
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

    def _begin_block(self) -> None:
        if self._since_s is None:
            self._since_s, self._since_utc = time.perf_counter(), utc_now()
        self.block, self._place = self.block + 1, 0
        stages = {name: running.stage for name, running in self.members.items() if running.stage is not None}
        behind = min(stages.values())
        self._order = sorted(name for name, stage in stages.items() if stage == behind)
        seed = next(iter(self.members.values())).cell.seed
        random.Random(f"{seed} {self.block} {self.key}").shuffle(self._order)


def groups(
    cells: Sequence[Cell],
    done: Sequence[Cell] = (),
    made_from: Mapping[str, str] | None = None,
    alone: str | None = None,
) -> list[Group]:
    """The cells in groups of at most `latency.interleave`, as even as can be, by the place of their first.

    `done` are cells that have their record from an earlier launch: they are not measured again. `alone`: the
    reason that no cell can take turns with another.
    """
    known = made_from or {}
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(compared_key(cell, known), []).append(cell)
    before: dict[str, dict[str, str]] = {}
    for cell in done:
        before.setdefault(compared_key(cell, known), {})[cell.id] = "it was measured in an earlier launch"
    found = [
        group for key, members in alike.items() for group in _chunks(key, members, before.get(key, {}), alone)
    ]
    place = {cell.id: index for index, cell in enumerate(cells)}
    return sorted(found, key=lambda group: place[group.waiting[0].id])


def _interleave(cell: Cell) -> int:
    latency = LatencySpec.of(cell)
    return latency.interleave if latency else 1


def _chunks(key: str, cells: list[Cell], before: dict[str, str], alone: str | None) -> list[Group]:
    most = 1 if alone else _interleave(cells[0])
    count = math.ceil(len(cells) / most)
    ends = [round(index * len(cells) / count) for index in range(count + 1)]
    why = alone or f"latency.interleave {most}: it took turns with others"
    made = []
    for start, end in itertools.pairwise(ends):
        apart = {cell.id: why for cell in [*cells[:start], *cells[end:]]}
        made.append(Group(key, deque(cells[start:end]), {**before, **apart}))
    return made
