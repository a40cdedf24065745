"""`Duel`: a pair of cells while it is measured: its workers, its laps, and in the end its two records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from qbench.gate.ab.block import Lap
from qbench.gate.ab.pairs import Pair
from qbench.gate.ab.units import Numbers, Unit
from qbench.gate.ab.versions import SIDES, Name, Side
from qbench.gate.ab.workers import Crew, Lane
from qbench.results.store.record import Record
from qbench.run.executors.local.running_cell import outcome

MOST_JUMPS = 20
"""Laps of a unit that cannot be believed, and none that can, after which it has no more."""
MOST_LACKS = 3
"""Laps in which a side has no number, after which the unit has no more."""


class Round(NamedTuple):
    """One side's part in a lap."""

    seconds: list[float]
    """Of the prefill and of each decode step."""
    lap: int
    place: int
    """0: it went first."""
    load: int
    """Which pair of processes it was."""


@dataclass(eq=False)
class Duel:
    pair: Pair
    cell_id: str
    """The candidate's id, which stands for the pair."""
    words: str
    units: list[Unit]
    lanes: dict[Name, Lane] = field(default_factory=dict)
    """In memory now."""
    records: dict[Name, Record] = field(default_factory=dict)
    """Of the first load; the candidate's of a later one that did not end well, which then says more."""
    died: dict[Name, str] = field(default_factory=dict)
    """Sides whose worker had been warm, or had been so in an earlier load, and did not end well → how."""
    corners: dict[Name, list[dict[str, Any]]] = field(default_factory=dict)
    rounds: dict[tuple[Name, int], list[Round]] = field(default_factory=dict)
    """Side and corner → its rounds, in the order of the laps."""
    closed: dict[str, str] = field(default_factory=dict)
    """Units of which there are no more laps → why."""
    laps: Counter[str] = field(default_factory=Counter)
    """Unit → laps that were kept."""
    jumps: Counter[str] = field(default_factory=Counter)
    """Unit → laps left out since a round claimed a time that cannot be."""
    lacks: dict[str, list[tuple[Name, ...]]] = field(default_factory=dict)
    """Unit → of each lap in which a side had no number, which."""
    shown: dict[str, list[dict[Name, Numbers]]] = field(default_factory=dict)
    """Unit → the numbers of its laps, where some are shown and not gated."""
    loads: int = 0
    load_s: float = 0.0
    """Of the newest load of both sides, until they were warm."""
    lap_times: dict[str, float] = field(default_factory=dict)
    """Unit → seconds of its newest lap."""
    baseline_s: dict[str, float] = field(default_factory=dict)
    """Unit → least seconds that the baseline's part in a lap took."""
    apart: str | None = None
    """Why the two sides cannot be in memory together."""

    @property
    def alive(self) -> bool:
        """Whether both sides wait for errands."""
        return len(self.lanes) == 2 and all(lane.waits for lane in self.lanes.values())

    @property
    def lap_s(self) -> float:
        """One lap of every unit, as far as it is known."""
        return sum(self.lap_times.values())

    @property
    def ran_out_beside(self) -> str | None:
        """Why a side ended, where that was memory that the other, or another pair, may have held."""
        for lane in self.lanes.values():
            if lane.ended and lane.flight.beside:
                status, reason, _ = outcome(lane.flight, lane.job)
                if status == "oom":
                    return reason
        return None

    def load(
        self, crew: Crew, sides: Mapping[Name, Side], order: tuple[Name, ...], *, turns: bool = True
    ) -> None:
        """Starts its workers one after the other, each until it is warm."""
        self.loads += 1
        self.load_s = 0.0
        for name in order:
            if self.pair.runs(name):
                entry = self.pair.entries[name]
                self.lanes[name] = crew.start(
                    sides[name], entry, probes=name not in self.records, turns=turns
                )
                self.load_s += self.lanes[name].load_s

    def land(self, crew: Crew, suite: str) -> None:
        """Ends its workers and keeps what they said."""
        lanes, self.lanes = self.lanes, {}
        crew.dismiss(lanes.values())
        for name, lane in lanes.items():
            record = lane.record(suite)
            self.corners.setdefault(name, lane.corners)
            earlier = self.records.setdefault(name, record)
            if record.status == "ok" or (earlier is not record and earlier.status != "ok"):
                continue
            if lane.warm or earlier is not record:
                self.died[name] = f"in load {self.loads}: {record.status}: {record.reason or 'no reason'}"
            if name == "candidate":  # it fails; of the baseline the first record stays to compare with
                self.records[name] = record

    def keep(self, unit: Unit, lap: Lap) -> None:
        """A lap that both sides finished."""
        place = {name: index for index, name in enumerate(lap.order)}
        for name, seconds in lap.rounds.items():
            rounds = self.rounds.setdefault((name, unit.corner), [])
            rounds.append(Round(seconds, len(rounds), place[name], self.loads))
        if unit.shown:
            self.shown.setdefault(unit.key, []).append(lap.numbers)
        self.laps[unit.key] += 1
        self.lap_times[unit.key] = lap.spent_s
        least_s = self.baseline_s.get(unit.key, lap.seconds["baseline"])
        self.baseline_s[unit.key] = min(least_s, lap.seconds["baseline"])

    def leave_out(self, unit: Unit) -> None:
        """A lap that cannot be believed; a unit of which none ever could has no more."""
        self.jumps[unit.key] += 1
        if self.jumps[unit.key] >= MOST_JUMPS and not self.laps[unit.key]:
            self.closed[unit.key] = "no lap can be believed"

    def lacks_only_here(self, unit: Unit, lap: Lap) -> bool:
        """A lap in which a side gave no number; True once the candidate alone has lacked it for good.

        It is tried a few times, since memory may have lacked just then.
        """
        tries = self.lacks.setdefault(unit.key, [])
        tries.append(tuple(sorted(lap.lacking)))
        if len(tries) < MOST_LACKS:
            return False
        self.closed[unit.key] = "; ".join(f"{name}: {why}" for name, why in sorted(lap.lacking.items()))
        return set(tries) == {("candidate",)} and not self.laps[unit.key]

    def forget(self, crew: Crew) -> None:
        """Ends its workers as if they had not been."""
        lanes, self.lanes = self.lanes, {}
        crew.dismiss(lanes.values())

    def final(self, name: Name) -> Record | None:
        """The side's record with all its rounds."""
        record = self.records.get(name)
        if record is None or record.status != "ok" or not self.corners.get(name):
            return record
        runs = []
        for index, corner in enumerate(self.corners[name]):
            rounds = self.rounds.get((name, index), [])
            times = {
                "prefill_s": [one.seconds[0] for one in rounds],
                "decode_s": [one.seconds[1:] for one in rounds],
            }
            places = {name: [getattr(one, name) for one in rounds] for name in ("lap", "place", "load")}
            runs.append({**corner, **times, **places})
        return replace(record, samples={**record.samples, "latency": {"unit": "s", "runs": runs}})

    def statuses(self) -> dict[Name, str]:
        return {name: self.records[name].status for name in SIDES if name in self.records}
