"""Pareto fronts: quality against memory, decode time and energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbench.json_object import JsonObject
from qbench.report.charts.chart import Chart, Undrawn, View, table, words
from qbench.report.charts.group import Group
from qbench.report.charts.marks import GREY, Mark, faint
from qbench.report.charts.measures import (
    DECODE,
    ENERGY,
    KL,
    MODELLED,
    PERPLEXITY,
    RATIO,
    WEIGHTS,
    Measure,
    axis,
)
from qbench.report.view.cells import reason_of
from qbench.report.view.digits import Scale
from qbench.results.columns.column import Row

Scales = tuple[Scale, Scale]
Ends = tuple[float, float]
SECTION = "Quality against cost"
COSTS = (WEIGHTS, DECODE, ENERGY, MODELLED)
FADED = 0.35
POINTS = 300
"""Cells in one chart; more points would only overlap."""
_LEAD = (
    "Nearer the lower left is better. The dotted line joins the cells that none beats in both numbers; faded "
    "are those that another beats in both by more than their intervals. A number without an interval counts "
    "as it is."
)


@dataclass(frozen=True)
class Place:
    """A cell as a point of a chart."""

    row: Row
    on_front: bool
    beaten: bool

    @property
    def standing(self) -> str:
        return "on the front" if self.on_front else "beaten" if self.beaten else "within the intervals"


def costs(group: Group) -> list[Chart | Undrawn]:
    """One chart for each cost, with a view for each measure of quality."""
    return [_against(group, cost) for cost in COSTS]


def quality_of(group: Group) -> list[Measure]:
    """Measures of quality in this group: the ratio (without a base: perplexity) and the divergence."""
    related = any(row[RATIO.name] is not None for row in group.rows)
    return [RATIO if related else PERPLEXITY, KL]


def places(rows: list[Row], x: Measure, y: Measure) -> list[Place]:
    """The cells that have both numbers, each marked as on the front, beaten, or neither.

    Of more than `POINTS`, those on the front and those with the least `y`.
    """
    both = [row for row in rows if row[x.name] is not None and row[y.name] is not None]
    best = set(front([(row[x.name], row[y.name]) for row in both]))
    if len(both) > POINTS:
        ranked = sorted(range(len(both)), key=lambda index: (index not in best, both[index][y.name]))
        both = [both[index] for index in sorted(ranked[:POINTS])]
        best = set(front([(row[x.name], row[y.name]) for row in both]))
    worse = beaten([x.ends(row) for row in both], [y.ends(row) for row in both])
    return [Place(row, index in best, worse[index] and index not in best) for index, row in enumerate(both)]


def _against(group: Group, cost: Measure) -> Chart | Undrawn:
    views = [view for quality in quality_of(group) if (view := scatter(group, cost, quality, quality.title))]
    title = f"Quality against {cost.title[0].lower()}{cost.title[1:]}"
    if not views:
        return Undrawn(title, why_not(group, cost))
    if cost is MODELLED:
        title += ", which measures nothing"
    bars = f"; bars across: {cost.column.interval}" if cost.column.interval else ""
    quality = RATIO if views[0].name == RATIO.title else PERPLEXITY
    note = f"{group.protocols}; bars up: {quality.column.interval}"
    left = len(group.rows) - POINTS
    cut = f"; the front and the {POINTS} cells that lose least, of {len(group.rows)}" if left > 0 else ""
    return Chart(SECTION, title, f"{note}{bars}{cut}", views, lead=_LEAD)


def why_not(group: Group, cost: Measure) -> str:
    """The reason for which fewer than two cells have both this cost and a quality."""
    lacking = [row for row in group.rows if row[cost.name] is None and row["missing"].get(cost.name)]
    reasons = sorted({reason_of(row, cost.name) for row in lacking})
    if reasons:
        return "; ".join(reasons[:2])
    return "fewer than two cells have both numbers"


def scatter(
    group: Group, x: Measure, y: Measure, name: str, ranges: tuple[JsonObject, JsonObject] | None = None
) -> View | None:
    """A point for each cell; None where fewer than two have both numbers. `ranges` fix the axes."""
    found = places(group.rows, x, y)
    if len(found) < 2:
        return None
    rows = [place.row for place in found]
    scales = x.scale(rows), y.scale(rows)
    traces = [_front_line([place.row for place in found if place.on_front], x, y, scales)]
    for method in group.marks.ordered(row["method"] for row in rows):
        own = [place for place in found if place.row["method"] == method]
        chosen = sorted(own, key=lambda place: place.beaten)  # the legend shows the first: not a faded one
        traces.append(_points(group, chosen, x, y, scales))
    free = (
        axis(x.heading(scales[0]), [row[x.name] for row in rows], x.wide),
        axis(y.heading(scales[1]), [row[y.name] for row in rows], y.wide),
    )
    x_axis, y_axis = ranges or free
    return View(name, traces, {"xaxis": x_axis, "yaxis": y_axis}, _behind(group, found, x, y, scales))


def _behind(group: Group, found: list[Place], x: Measure, y: Measure, scales: Scales) -> JsonObject:
    return table(
        found,
        [
            ("Cell", lambda place: group.name(place.row), False),
            (x.heading(scales[0]), lambda place: x.text(place.row, scales[0]), True),
            (y.heading(scales[1]), lambda place: y.text(place.row, scales[1]), True),
            ("Stands", lambda place: place.standing, False),
        ],
    )


def _front_line(rows: list[Row], x: Measure, y: Measure, scales: Scales) -> JsonObject:
    rows = sorted(rows, key=lambda row: (row[x.name], -row[y.name]))
    return {
        "type": "scatter", "mode": "lines", "name": "Pareto front", "hoverinfo": "skip",
        "x": x.drawn(rows, scales[0]), "y": y.drawn(rows, scales[1]),
        "line": {"dash": "dot", "width": 1.5, "color": GREY},
    }  # fmt: skip


def _points(group: Group, chosen: list[Place], x: Measure, y: Measure, scales: Scales) -> JsonObject:
    """One method's points."""
    rows = [place.row for place in chosen]
    mark = group.marks.of(rows[0]["method"])
    return {
        "type": "scatter", "mode": "markers", "name": words(rows[0]["method"]),
        "x": x.drawn(rows, scales[0]), "y": y.drawn(rows, scales[1]),
        **_bars("error_x", x.error(rows, scales[0]), mark),
        **_bars("error_y", y.error(rows, scales[1]), mark),
        "text": [_hover(group, place, x, y, scales) for place in chosen],
        "customdata": [f"{row['run']}/{row['cell_id']}" for row in rows],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "size": 10, "symbol": mark.symbol,
            "color": [faint(mark.colour, FADED) if place.beaten else mark.colour for place in chosen],
        },
    }  # fmt: skip


def _bars(name: str, error: JsonObject | None, mark: Mark) -> JsonObject:
    return {} if error is None else {name: {**error, "color": faint(mark.colour, 0.5)}}


def _hover(group: Group, place: Place, x: Measure, y: Measure, scales: Scales) -> str:
    lines = [f"<b>{words(group.name(place.row), 60)}</b>"]
    for measure, scale in ((x, scales[0]), (y, scales[1])):
        lines.append(f"{measure.heading(scale)}: {measure.text(place.row, scale)}")
    return "<br>".join([*lines, place.standing])


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other dominates, by rising first number; of equal points the first."""
    chosen: list[int] = []
    best = float("inf")
    for index in sorted(range(len(points)), key=lambda place: (points[place][0], points[place][1], place)):
        if points[index][1] < best:
            best = points[index][1]
            chosen.append(index)
    return chosen


def beaten(x: Sequence[Ends], y: Sequence[Ends]) -> list[bool]:
    """Returns for each point whether another beats it in both numbers by more than their intervals.

    `x` and `y` are (low, high) by point. A point is beaten where another's upper ends are nowhere above its
    lower ends, and below in at least one of the two numbers. What is neither on the front nor beaten cannot
    be told from the front.
    """
    if not x:
        return []
    (x_low, x_high), (y_low, y_high) = _columns(x), _columns(y)
    nowhere_above = (x_high[:, None] <= x_low) & (y_high[:, None] <= y_low)
    somewhere_below = (x_high[:, None] < x_low) | (y_high[:, None] < y_low)
    found: list[bool] = np.any(nowhere_above & somewhere_below, axis=0).tolist()
    return found


def _columns(ends: Sequence[Ends]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    both = np.asarray(ends, dtype=np.float64)
    return both[:, 0], both[:, 1]
