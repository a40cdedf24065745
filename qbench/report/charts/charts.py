"""All charts of a report, compressed by group, so that a page with many of them stays small."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import log10

from qbench.json_object import JsonObject
from qbench.report.charts import bars, bits, costs, heat, memory, power, times
from qbench.report.charts.chart import Chart, Undrawn, rounded
from qbench.report.charts.collect import Collected
from qbench.report.charts.costs import places, scatter
from qbench.report.charts.group import Group, group_rows
from qbench.report.charts.measures import RATIO, WEIGHTS_RATIO, Measure, axis
from qbench.report.html.page import pack
from qbench.results.columns.column import Row

SUBJECTS = (
    costs.costs, bars.bars, bits.bits, times.times, memory.memory, heat.layers, power.power,
)  # fmt: skip
"""Functions that draw a group, in the page's order."""
GROUPS = 80
"""Groups whose charts a page carries."""
SIDE_BY_SIDE = "Models side by side"
PANELS = 24
"""Models with a panel there."""
HEIGHT = 270
"""CSS pixels of a panel."""


@dataclass(frozen=True)
class Chapter:
    """The charts of one group, or those of all groups together."""

    title: str
    payload: str
    """`{"pictures": […], "undrawn": […]}`, compressed."""


@dataclass(frozen=True)
class ChartSet:
    """The charts of a page."""

    chapters: list[Chapter] = field(default_factory=list)
    note: str = ""
    """Names what was left out of the page, and why."""

    def data(self) -> list[JsonObject]:
        """The chapters as the page's script reads them."""
        return [{"title": chapter.title, "packed": chapter.payload} for chapter in self.chapters]


def chart_set(rows: list[Row], collected: Collected) -> ChartSet:
    """Every chart that these rows (of the frame, as dicts, nulls as None) have data for.

    None where no two cells have finished: a chart needs two numbers.
    """
    groups = group_rows(rows, collected)
    if sum(len(group.rows) for group in groups) < 2:
        return ChartSet()
    able = [group for group in groups if len(group.rows) > 1]
    chapters = [
        _chapter(group.title, [one for subject in SUBJECTS for one in subject(group)])
        for group in able[:GROUPS]
    ]
    chapters.append(_chapter(SIDE_BY_SIDE, _side_by_side(groups)))
    return ChartSet([chapter for chapter in chapters if chapter is not None], _left_out(groups, able))


def _left_out(groups: list[Group], able: list[Group]) -> str:
    said = []
    if len(able) > GROUPS:
        said.append(f"{len(able) - GROUPS} more have no pictures here; make a report of fewer runs for them.")
    if len(groups) > len(able):
        count = len(groups) - len(able)
        said.append(
            f"{count} model{'s' if count > 1 else ''} with a single finished cell: a point is no picture."
        )
    return " ".join(said)


def _chapter(title: str, drawn: list[Chart | Undrawn]) -> Chapter | None:
    pictures = [one.json() for one in drawn if isinstance(one, Chart)]
    if not pictures:
        return None
    undrawn = [one.json() for one in drawn if isinstance(one, Undrawn)]
    return Chapter(title, pack({"pictures": pictures, "undrawn": undrawn}))


def _side_by_side(groups: list[Group]) -> list[Chart | Undrawn]:
    """A panel for each group with at least two points; none where there is only one such group."""
    able = [group for group in groups if len(places(group.rows, WEIGHTS_RATIO, RATIO)) > 1]
    if len(able) < 2:
        return [
            Undrawn(
                f"{SIDE_BY_SIDE}, with the same axes", "fewer than two groups of cells have a base and memory"
            )
        ]
    drawn = able[:PANELS]
    rows = [row for group in drawn for row in group.rows]
    ranges = _range(rows, WEIGHTS_RATIO), _range(rows, RATIO)
    left = f"; {len(able) - PANELS} more groups are left out" if len(able) > PANELS else ""
    panels: list[Chart | Undrawn] = []
    for group in drawn:
        view = scatter(group, WEIGHTS_RATIO, RATIO, group.title, ranges)
        assert view is not None, "a group with two points has a chart"
        note = f"{group.protocols}{left}"
        panels.append(Chart(SIDE_BY_SIDE, group.title, note, [replace(view, height=HEIGHT)]))
    return panels


def _range(rows: list[Row], measure: Measure) -> JsonObject:
    """An axis over all panels."""
    ends = [end for row in rows if row[measure.name] is not None for end in measure.ends(row)]
    found = axis(measure.title, ends, measure.wide)
    shown = _limits([log10(end) for end in ends] if found["type"] == "log" else ends)
    return {**found, "range": shown}


def _limits(values: list[float]) -> list[float]:
    """A range with a margin on both sides, for axes that several charts share."""
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return [rounded(low - room) or 0.0, rounded(high + room) or 0.0]
