"""`Duel`: a pair of cells while it is measured: its workers, its laps, and in the end its two records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from qbench.results.record import Record
from qbench.run.ab.lanes import Crew, Lane
from qbench.run.ab.pairs import Pair
from qbench.run.ab.sides import SIDES, Name, Side
from qbench.run.ab.units import Unit
from qbench.run.flight import outcome


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
    """Of the first load; of a later one that did not end well, which then says more."""
    corners: dict[Name, list[dict[str, Any]]] = field(default_factory=dict)
    rounds: dict[tuple[Name, int], list[Round]] = field(default_factory=dict)
    """Side and corner → its rounds, in the order of the laps."""
    closed: dict[str, str] = field(default_factory=dict)
    """Units of which there are no more laps → why."""
    jumps: dict[str, int] = field(default_factory=dict)
    """Unit → laps left out since a round claimed to be longer than its turn."""
    loads: int = 0
    load_s: float = 0.0
    """Of the newest load of both sides, until they were warm."""
    lap_times: dict[str, float] = field(default_factory=dict)
    """Unit → seconds of its newest lap."""
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
            if name not in self.records or (record.status != "ok" and self.records[name].status == "ok"):
                self.records[name] = record

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
