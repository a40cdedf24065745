"""Small multiples: a panel for each model, all with the same axes."""

from __future__ import annotations

from math import log10

from qbench.report.charts.chart import Chart, Json, Undrawn
from qbench.report.charts.costs import limits, places, scatter
from qbench.report.charts.group import Group
from qbench.report.charts.measures import RATIO, WEIGHTS_RATIO, Measure, axis

SECTION = "Models side by side"
PANELS = 24
HEIGHT = 270
_TITLE = "Models side by side, with the same axes"


def multiples(groups: list[Group]) -> list[Chart | Undrawn]:
    """A panel for each group with at least two points; none where there is only one such group."""
    able = [group for group in groups if len(places(group.rows, WEIGHTS_RATIO, RATIO)) > 1]
    if len(able) < 2:
        return [Undrawn(_TITLE, "fewer than two groups of cells have a base and memory")]
    drawn = able[:PANELS]
    rows = [row for group in drawn for row in group.rows]
    ranges = _range(rows, WEIGHTS_RATIO), _range(rows, RATIO)
    left = f"; {len(able) - PANELS} more groups are left out" if len(able) > PANELS else ""
    panels: list[Chart | Undrawn] = []
    for group in drawn:
        view = scatter(group, WEIGHTS_RATIO, RATIO, group.title, ranges)
        assert view is not None, "a group with two points has a chart"
        note = f"{group.protocols}{left}"
        smaller = type(view)(view.name, view.data, view.layout, view.table, HEIGHT)
        panels.append(Chart(SECTION, group.title, note, [smaller]))
    return panels


def _range(rows: list[dict[str, object]], measure: Measure) -> Json:
    """An axis over all panels."""
    ends = [end for row in rows if row[measure.name] is not None for end in measure.ends(row)]
    found = axis(measure.title, ends, measure.wide)
    shown = limits([log10(end) for end in ends] if found["type"] == "log" else ends)
    return {**found, "range": shown}
