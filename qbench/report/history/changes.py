"""Changes and gaps of a series in words, for terminal and page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qbench.report.view.digits import significant
from qbench.results.history.series import Change, RunPoint, Series
from qbench.results.table.columns import columns

Sense = Literal["worse", "better", "changed", "environment"]
_LEAST_SHOWN = 1e-5


@dataclass(frozen=True)
class ChangeWords:
    """One change point or change of environment."""

    sense: Sense
    date: str
    text: str
    """`worse by 9.1 %`, or `new environment` with the shift across it."""
    commits: str
    facts: tuple[str, ...]


@dataclass(frozen=True)
class GapWords:
    """Neighbouring runs without a value for one reason."""

    dates: str
    count: int
    reason: str


def change_words(series: Series) -> list[ChangeWords]:
    """Every change of the series, in the order of time."""
    return [
        ChangeWords(sense(change, series.metric), date(change.after), _text(change, series.metric),
                    change.commits, change.facts)
        for change in series.changes
    ]  # fmt: skip


def gap_words(series: Series) -> list[GapWords]:
    """Gaps of the series; neighbours with the same reason are one gap."""
    found: list[list[RunPoint]] = []
    before: RunPoint | None = None
    for point in series.points:
        if point.value is None:
            if before is not None and before.value is None and before.reason == point.reason:
                found[-1].append(point)
            else:
                found.append([point])
        before = point
    return [GapWords(_span(gap), len(gap), gap[0].reason or "no reason was recorded") for gap in found]


def sense(change: Change, metric: str) -> Sense:
    """Direction of a change; `environment` where the machine may be its cause."""
    if change.kind == "environment":
        return "environment"
    way = columns()[metric].direction
    if way is None or change.new == change.old:
        return "changed"
    return "worse" if (change.new > change.old) == (way == "lower") else "better"


def date(point: RunPoint) -> str:
    """`2026-11-21`; the run's name where its time is lost."""
    return f"{point.run.started_at:%Y-%m-%d}" if point.run.started_at else point.run.name


def _text(change: Change, metric: str) -> str:
    way = sense(change, metric)
    if way == "environment":
        return f"new environment, {'the same' if change.new == change.old else _shift(change)}"
    return f"{way} by {_shift(change).lstrip('+−')}" if way != "changed" else f"changed by {_shift(change)}"


def _shift(change: Change) -> str:
    """In percent of the old level; of one that is zero or has another sign, both levels."""
    if change.ratio is None or change.ratio <= 0:
        return f"{significant(change.old, 3)} → {significant(change.new, 3)}"
    shift = change.ratio - 1
    sign = "+" if shift >= 0 else "−"
    if shift and abs(shift) < _LEAST_SHOWN:
        return f"{sign}less than {_LEAST_SHOWN:.3%}".replace("%", " %")
    return f"{sign}{significant(abs(shift) * 100, 2)} %"


def _span(gap: Sequence[RunPoint]) -> str:
    first, last = date(gap[0]), date(gap[-1])
    return first if first == last else f"{first} to {last}"
