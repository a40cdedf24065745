"""Head of the trends page: how many series changed lately, and every change, newest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qbench.report.history.changes import ChangeWords, change_words, date, sense
from qbench.results.history.history import is_deterministic
from qbench.results.history.series import Change, RunPoint, Series

RECENT = 7
"""Number of newest runs that count as recent."""


@dataclass(frozen=True)
class Listed:
    """One change in the list at the top; a change of environment is listed once for all series of a run."""

    change: ChangeWords
    cell: str
    metric: str


def of_several_suites(found: Sequence[Series]) -> bool:
    """True where a cell's name alone does not tell its suite."""
    return len({series.suite for series in found}) > 1


def prefixed(suite: str, name: str, several: bool) -> str:
    return f"{suite}: {name}" if several else name


def listed_changes(found: Sequence[Series]) -> list[Listed]:
    """Newest first; changes of the environment once for each suite and run."""
    several = of_several_suites(found)
    rows = [
        Listed(words, prefixed(series.suite, series.cell, several), series.metric)
        for series in found
        for words in change_words(series)
        if words.sense != "environment"
    ]
    rows += _environments(found, several)
    return sorted(rows, key=lambda row: row.change.date, reverse=True)


def _environments(found: Sequence[Series], several: bool) -> list[Listed]:
    """Changes of environment, with the facts of all series of a run; of two on one fact, the one with the
    shorter gap."""
    runs: dict[tuple[str, str], list[tuple[Change, RunPoint]]] = defaultdict(list)
    for series in found:
        for change in series.changes:
            if change.kind == "environment":
                first = _first_in(series, change)
                runs[series.suite, first.run.name].append((change, first))
    rows = []
    for (suite, _), members in runs.items():
        ordered = sorted((change for change, _ in members), key=lambda change: change.before.run.name)
        facts = {line.partition(": ")[0]: line for change in ordered for line in change.facts}
        told = ChangeWords(
            "environment", date(members[0][1]), "new environment", ordered[-1].commits, tuple(facts.values())
        )
        rows.append(Listed(told, prefixed(suite, "all", several), ""))
    return rows


def _first_in(series: Series, change: Change) -> RunPoint:
    """The first run in the new environment, where the series may have a gap."""
    kind = str(series.facts["device"]), is_deterministic(series.metric)
    place, new = change.place, change.after.run.environment_for(*kind)
    while (
        series.points[place - 1].value is None and series.points[place - 1].run.environment_for(*kind) == new
    ):
        place -= 1
    return series.points[place]


def sentence(found: Sequence[Series]) -> str:
    """Sentence on the series of today's suites that got worse or better, and on cells without a value."""
    recent = _recent_runs(found)
    current = [series for series in found if series.left is None]
    if not current:
        return "None of these cells is in its suite any more."
    count: dict[str, int] = defaultdict(int)
    for series in current:
        new = [change for change in series.changes if change.after.run.name in recent[series.suite]]
        for one in {sense(change, series.metric) for change in new}:
            count[one] += 1
    said = [f"{count[one]} {one}" for one in ("worse", "better", "changed") if count[one]]
    of = f"of {len(current)} series in the last {RECENT} runs"
    return f"{', '.join(said) or 'No level has changed'} {of}{_silent(current, recent)}."


def _recent_runs(found: Sequence[Series]) -> dict[str, list[str]]:
    """Suite → its last runs, oldest first; names of runs sort by time."""
    runs: dict[str, set[str]] = defaultdict(set)
    for series in found:
        runs[series.suite] |= {point.run.name for point in series.points}
    return {suite: sorted(names)[-RECENT:] for suite, names in runs.items()}


def _silent(current: Sequence[Series], recent: Mapping[str, Sequence[str]]) -> str:
    """`; 2 cells have no value in the newest run`: in no metric at all, or because the cell failed.

    The seconds that a failed cell took to load are a value, and do not count beside metrics that it lacks.
    """
    lacking: dict[tuple[str, str], list[str]] = defaultdict(list)
    valued: set[tuple[str, str]] = set()
    for series in current:
        key, last = (series.suite, series.cell_id), series.points[-1]
        if last.run.name == recent[series.suite][-1] and last.value is not None:
            valued.add(key)
        else:
            lacking[key].append(last.status)
    count = sum(key not in valued or any(one != "ok" for one in found) for key, found in lacking.items())
    said = "1 cell has" if count == 1 else f"{count} cells have"
    return f"; {said} no value in the newest run" if count else ""
