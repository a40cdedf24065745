"""`Series`: one cell and metric over the runs of a suite, cut into segments."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qbench.results.history.runs import Facts, HistoryRun, differing_facts
from qbench.results.stats.change_points import change_points, exact_steps

Begin = Literal["change point", "environment"]


@dataclass(frozen=True)
class RunPoint:
    """Value of a series in one run, or the reason why there is none."""

    run: HistoryRun
    status: str
    """Status of the record; `missing` for a planned cell without one, `absent` where it was not planned."""
    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    """Reason why there is no value."""


@dataclass(frozen=True)
class Change:
    """Begin of a new segment."""

    kind: Begin
    place: int
    """Index of `after` in the series' points."""
    before: RunPoint
    """The last point with a value before the change: its commit is the last known at the old level."""
    after: RunPoint
    old: float
    """Median of the segment before."""
    new: float
    """Median of the segment that begins here."""
    facts: tuple[str, ...] = ()
    """Facts that differ between the environments, a line each."""

    @property
    def ratio(self) -> float | None:
        return self.new / self.old if self.old else None

    @property
    def commits(self) -> str:
        """`0a1b2c3d..4e5f6a7b`: last commit before, first after; versions where there is no commit."""
        before, after = (_revision(point.run) for point in (self.before, self.after))
        return before if before == after else f"{before}..{after}"


@dataclass(frozen=True)
class Series:
    """One cell and metric over time, from the first run that planned or recorded the cell to the last."""

    suite: str
    cell_id: str
    cell: str
    """The cell in words, unique within the suite."""
    facts: Mapping[str, Any]
    """`IDENTITY` and every parameter, which filters are matched against."""
    metric: str
    points: tuple[RunPoint, ...]
    changes: tuple[Change, ...]
    left: HistoryRun | None
    """The first run of the suite that no longer had the cell; None while it has."""

    @property
    def measured(self) -> list[RunPoint]:
        return [point for point in self.points if point.value is not None]

    @property
    def gaps(self) -> list[RunPoint]:
        return [point for point in self.points if point.value is None]

    def segments(self) -> list[int]:
        """Number of the segment of each point, from 0; a gap belongs to the one before it."""
        begins = {change.place for change in self.changes}
        count, found = 0, []
        for place in range(len(self.points)):
            count += place in begins
            found.append(count)
        return found


def changes_of(points: Sequence[RunPoint], deterministic: bool, device: str) -> list[Change]:
    """Begins of segments in the order of time, changes of the environment included.

    Within an environment they are found by `change_points`, for `deterministic` numbers by `exact_steps`.
    """
    measured = [place for place, point in enumerate(points) if point.value is not None]
    carried = _environments([points[place].run for place in measured], device, deterministic)
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


def _environments(runs: Sequence[HistoryRun], device: str, deterministic: bool) -> list[Facts | None]:
    """Environment of each run; where unknown, that of its neighbours, or None where those two differ."""
    known = [run.environment_for(device, deterministic) if run.known else None for run in runs]
    return [
        (before or after or {}) if before is None or after is None or before == after else None
        for before, after in zip(_carried(known), reversed(_carried(known[::-1])), strict=True)
    ]


def _carried(known: Iterable[Facts | None]) -> list[Facts | None]:
    """The list with None replaced by the entry before it."""
    found: list[Facts | None] = []
    for one in known:
        found.append(found[-1] if one is None and found else one)
    return found


def _revision(run: HistoryRun) -> str:
    if run.commit is None:
        return f"qbench {run.version}" if run.version else "unknown"
    return run.commit[:8] + ("+" if run.dirty else "")
