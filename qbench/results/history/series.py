"""`Series`: what every night said of one cell and metric, and where it begins anew."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qbench.results.history.runs import Facts, Night, differing_facts
from qbench.results.stats.change_points import change_points, exact_steps

Begin = Literal["change point", "environment"]


@dataclass(frozen=True)
class Point:
    """What one night says of a series."""

    night: Night
    status: str
    """The record's; `missing` where a planned cell has none, `absent` where the run had no such cell."""
    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    """Why there is no value."""


@dataclass(frozen=True)
class Change:
    """Where a new segment begins."""

    kind: Begin
    place: int
    """Of `after` in the series' points."""
    before: Point
    """The last with a value before it: its commit is the last that is known to have the old level."""
    after: Point
    old: float
    """Median of the segment before."""
    new: float
    """Median of the segment that begins here."""
    facts: tuple[str, ...] = ()
    """What differs between the environments, a line each."""

    @property
    def ratio(self) -> float | None:
        return self.new / self.old if self.old else None

    @property
    def commits(self) -> str:
        """`0a1b2c3d..4e5f6a7b`: last commit before, first after; versions where there is no commit."""
        before, after = (_revision(point.night) for point in (self.before, self.after))
        return before if before == after else f"{before}..{after}"


@dataclass(frozen=True)
class Series:
    """One cell and metric over time, from the first night that knew the cell to the last."""

    suite: str
    cell_id: str
    cell: str
    """In words; unique within the suite."""
    facts: Mapping[str, Any]
    """`IDENTITY` and every parameter: what filters are read against."""
    metric: str
    points: tuple[Point, ...]
    changes: tuple[Change, ...]
    left: Night | None
    """The first night of the suite that no longer had the cell; None while it has."""

    @property
    def measured(self) -> list[Point]:
        return [point for point in self.points if point.value is not None]

    @property
    def gaps(self) -> list[Point]:
        return [point for point in self.points if point.value is None]

    def segments(self) -> list[int]:
        """Number of the segment of each point, from 0; a gap belongs to the one before it."""
        begins = {change.place for change in self.changes}
        count, found = 0, []
        for place in range(len(self.points)):
            count += place in begins
            found.append(count)
        return found


def changes_of(points: Sequence[Point], deterministic: bool, device: str) -> list[Change]:
    """Where a series begins anew, in the order of time, changes of the environment included.

    Within an environment, by `change_points`, or of what is `deterministic` by `exact_steps`.
    """
    measured = [place for place, point in enumerate(points) if point.value is not None]
    carried = _environments([points[place].night for place in measured], device, deterministic)
    places = [place for place, facts in zip(measured, carried, strict=True) if facts is not None]
    environments = [facts for facts in carried if facts is not None]
    moved = [index for index in range(1, len(places)) if environments[index] != environments[index - 1]]
    begins: dict[int, Begin] = {}
    for start, end in zip([0, *moved], [*moved, len(places)], strict=True):
        values = [points[place].value or 0.0 for place in places[start:end]]
        found = exact_steps(values) if deterministic else change_points(values)
        begins |= {start + index: "change point" for index in found}
    begins |= dict.fromkeys(moved, "environment")
    edges = [0, *sorted(begins), len(places)]
    levels = [
        statistics.median(points[place].value or 0.0 for place in places[start:end])
        for start, end in itertools.pairwise(edges)
        if end > start
    ]
    return [
        Change(
            begins[index], places[index], points[places[index - 1]], points[places[index]],
            levels[number], levels[number + 1],
            tuple(differing_facts(environments[index - 1], environments[index]))
            if begins[index] == "environment" else (),
        )
        for number, index in enumerate(sorted(begins))
    ]  # fmt: skip


def _environments(nights: Sequence[Night], device: str, deterministic: bool) -> list[Facts | None]:
    """Of each night; one that is unknown is its neighbours', and None where those are two different ones."""
    known = [night.environment_for(device, deterministic) if night.known else None for night in nights]
    return [
        (before or after or {}) if before is None or after is None or before == after else None
        for before, after in zip(_carried(known), reversed(_carried(known[::-1])), strict=True)
    ]


def _carried(known: Iterable[Facts | None]) -> list[Facts | None]:
    """None replaced by what stood before it."""
    found: list[Facts | None] = []
    for one in known:
        found.append(found[-1] if one is None and found else one)
    return found


def _revision(night: Night) -> str:
    if night.commit is None:
        return f"qbench {night.version}" if night.version else "unknown"
    return night.commit[:8] + ("+" if night.dirty else "")
