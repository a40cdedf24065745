"""`Lap`: one errand of one unit on both sides, one right after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qbench.gate.ab.units import Numbers, Unit
from qbench.gate.ab.versions import Name
from qbench.gate.ab.workers import Crew, Lane, believable


@dataclass
class Lap:
    """What came of it. Nothing is kept of one that `died` or `jumped`."""

    order: tuple[Name, ...]
    """Who went first."""
    numbers: dict[Name, Numbers] = field(default_factory=dict)
    rounds: dict[Name, list[float]] = field(default_factory=dict)
    """Of a unit of rounds: seconds of the prefill and of each decode step."""
    seconds: dict[Name, float] = field(default_factory=dict)
    """Of each whole turn, on the parent's steady clock."""
    lacking: dict[Name, str] = field(default_factory=dict)
    """Sides that have no number → why."""
    died: bool = False
    """A worker died of its errand."""
    jumped: bool = False
    """A round claims a time that cannot be."""

    @property
    def spent_s(self) -> float:
        return sum(self.seconds.values())


def take(crew: Crew, lanes: Mapping[Name, Lane], unit: Unit, order: Sequence[Name]) -> Lap:
    """Sends the sides on their errands; the second stays where it is once the lap is lost."""
    lap = Lap(tuple(order))
    for name in order:
        answer, lap.seconds[name] = crew.errand(lanes[name], unit.errand)
        if answer is None:
            lap.died = True
            return lap
        if unit.kind == "round":
            if not believable(answer, lap.seconds[name]):
                lap.jumped = True
                return lap
            lap.rounds[name] = answer
        lap.numbers[name], why = unit.numbers(answer, lanes[name].entry.cell)
        if why is not None:
            lap.lacking[name] = why
    return lap
