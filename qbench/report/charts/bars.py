"""Bars relative to the base, the unquantized model, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qbench.json_object import JsonObject
from qbench.report.charts.chart import Chart, Undrawn, View, rounded, table, words
from qbench.report.charts.costs import why_not
from qbench.report.charts.group import Group
from qbench.report.charts.marks import faint
from qbench.report.charts.measures import (
    DECODE_SPEED,
    ENERGY,
    MODELLED,
    PREFILL_SPEED,
    RATIO,
    WEIGHTS_RATIO,
    Measure,
)
from qbench.report.view.digits import spread_text
from qbench.results.columns.column import Row

SECTION = "Beside the base"
BAR = 24
"""CSS pixels for each bar and the gap above it."""
THICK = 0.66
"""Share of `BAR` that the bar itself takes."""
Spread = tuple[float, float, float]


@dataclass(frozen=True)
class Relative:
    """A number relative to the base's as value, low and high."""

    title: str
    measure: Measure
    better: str
    made: Literal["ratio", "over base", "added"] = "ratio"
    """`ratio`: the frame has it; `over base`: the quotient by the base's value, with the cell's own interval;
    `added`: the ratio less one in percent, so that bars begin at the base."""

    def read(self, row: Row, base: Row | None) -> Spread | None:
        value = self.measure.value(row)
        by = 1.0 if self.made != "over base" else self.measure.value(base) if base else None
        if value is None or not by:
            return None
        low, high = self.measure.ends(row)
        if self.made == "added":
            return 100 * (value - 1), 100 * (low - 1), 100 * (high - 1)
        return value / by, low / by, high / by


RELATIVES = (
    Relative("Perplexity added (%)", RATIO, "shorter is better", "added"),
    Relative("Weight memory × base", WEIGHTS_RATIO, "shorter is better"),
    Relative("Prefill speed × base", PREFILL_SPEED, "longer is better"),
    Relative("Decode speed × base", DECODE_SPEED, "longer is better"),
    Relative("Measured energy × base", ENERGY, "shorter is better", "over base"),
    Relative("Modelled energy × base", MODELLED, "shorter is better; modelled", "over base"),
)


def bars(group: Group) -> list[Chart | Undrawn]:
    """One chart for each number that has a base."""
    return [_bars(group, relative) for relative in RELATIVES]


def _bars(group: Group, relative: Relative) -> Chart | Undrawn:
    bases = {row["cell_id"]: row for row in group.rows if row["method"] == "none"}
    points = [
        (row, found)
        for row in group.shown
        if row["method"] != "none"
        and (found := relative.read(row, bases.get(row["base_cell_id"]))) is not None
    ]
    if not points:
        return Undrawn(relative.title, _reason(group, relative))
    interval = relative.measure.column.interval
    if relative.measure is ENERGY:
        interval += ", the base taken as it is"
    protocol = f"{group.protocols}; " if relative.measure is RATIO else ""
    note = f"{protocol}{relative.better}{f'; lines: {interval}' if interval else ''}{group.cut_note}"
    return Chart(SECTION, relative.title, note, [_view(group, relative, points)])


def _reason(group: Group, relative: Relative) -> str:
    if all(row["method"] == "none" for row in group.rows):
        return "nothing but the base has finished"
    if all(row["base_cell_id"] is None for row in group.rows if row["method"] != "none"):
        return "there is no base"
    return why_not(group, relative.measure)


def _view(group: Group, relative: Relative, points: list[tuple[Row, Spread]]) -> View:
    traces = [
        _trace(
            group,
            method,
            [(place, *point) for place, point in enumerate(points) if point[0]["method"] == method],
        )
        for method in group.marks.ordered(row["method"] for row, _ in points)
    ]
    layout: JsonObject = {
        "xaxis": {"title": {"text": relative.title}, "rangemode": "tozero"},
        "yaxis": cells_axis(group, [row for row, _ in points]),
        "showlegend": False, "barmode": "overlay",
    }  # fmt: skip
    if relative.made != "added":
        layout["shapes"] = [_base_line(1.0)]
    behind = table(
        points,
        [
            ("Cell", lambda point: group.name(point[0]), False),
            (relative.title, lambda point: _text(relative, point[1]), True),
        ],
    )
    return View(relative.title, traces, layout, behind, height=110 + BAR * len(points))


def cells_axis(group: Group, rows: list[Row]) -> JsonObject:
    """The cells' names beside their bars, the first on top. Bars stand at numbers, since plotly would read
    labels that look like numbers or dates as such."""
    return {
        "tickmode": "array", "tickvals": list(range(len(rows))),
        "ticktext": [group.tick(row) for row in rows],
        "range": [len(rows) - 0.4, -0.6], "showgrid": False, "ticks": "", "title": {"text": ""},
    }  # fmt: skip


def _trace(group: Group, method: str, chosen: list[tuple[int, Row, Spread]]) -> JsonObject:
    mark = group.marks.of(method)
    values = [found for _, _, found in chosen]
    return {
        "type": "bar", "orientation": "h", "width": THICK, "name": words(method),
        "y": [place for place, _, _ in chosen], "x": [rounded(value) for value, _, _ in values],
        "error_x": {
            "type": "data", "array": [rounded(high - value) for value, _, high in values],
            "arrayminus": [rounded(value - low) for value, low, _ in values], "thickness": 1.3, "width": 3,
        },
        "text": [words(group.name(row), 60) for _, row, _ in chosen], "textposition": "none",
        "customdata": [f"{row['run']}/{row['cell_id']}" for _, row, _ in chosen],
        "hovertemplate": "<b>%{text}</b><br>%{x}<extra></extra>",
        "marker": {"color": faint(mark.colour, 0.75), "line": {"color": mark.colour, "width": 1}},
    }  # fmt: skip


def _base_line(at: float) -> JsonObject:
    return {
        "type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper",
        "line": {"dash": "dot", "width": 1.5, "color": "#7F7F7F"},
    }  # fmt: skip


def _text(relative: Relative, found: Spread) -> str:
    return spread_text(*found, relative.measure.column.table_digits)
