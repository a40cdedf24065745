"""Bars relative to the base, the unquantized model, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qbench.report.charts.chart import Chart, Json, Row, Undrawn, View, rounded, table, words
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
from qbench.report.view.digits import with_interval

SECTION = "Beside the base"
BAR = 24
"""CSS pixels for each bar and the gap above it."""
THICK = 0.66
"""Share of `BAR` that the bar itself takes."""


@dataclass(frozen=True)
class Relative:
    """A number relative to the base's as value, low and high; `one` is the place of the base."""

    title: str
    measure: Measure
    better: str
    read: Callable[[Row, Row | None], tuple[float, float, float] | None]
    one: float = 1.0


def _of(measure: Measure) -> Callable[[Row, Row | None], tuple[float, float, float] | None]:
    """Reader of a ratio that the frame has."""

    def read(row: Row, base: Row | None) -> tuple[float, float, float] | None:
        value = measure.value(row)
        return None if value is None else (value, *measure.ends(row))

    return read


def _added(row: Row, base: Row | None) -> tuple[float, float, float] | None:
    """Perplexity added to the base's, in percent: bars begin at zero, the base."""
    value = RATIO.value(row)
    if value is None:
        return None
    low, high = RATIO.ends(row)
    return 100 * (value - 1), 100 * (low - 1), 100 * (high - 1)


def _over_base(measure: Measure) -> Callable[[Row, Row | None], tuple[float, float, float] | None]:
    """Reader of the quotient by the base's value; the interval is the cell's own."""

    def read(row: Row, base: Row | None) -> tuple[float, float, float] | None:
        above, below = measure.value(row), measure.value(base) if base else None
        if above is None or not below:
            return None
        low, high = measure.ends(row)
        return above / below, low / below, high / below

    return read


RELATIVES = (
    Relative("Perplexity added (%)", RATIO, "shorter is better", _added, 0.0),
    Relative("Weight memory × base", WEIGHTS_RATIO, "shorter is better", _of(WEIGHTS_RATIO)),
    Relative("Prefill speed × base", PREFILL_SPEED, "longer is better", _of(PREFILL_SPEED)),
    Relative("Decode speed × base", DECODE_SPEED, "longer is better", _of(DECODE_SPEED)),
    Relative("Measured energy × base", ENERGY, "shorter is better", _over_base(ENERGY)),
    Relative("Modelled energy × base", MODELLED, "shorter is better; modelled", _over_base(MODELLED)),
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
    interval = relative.measure.bars
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


def _view(group: Group, relative: Relative, points: list[tuple[Row, tuple[float, float, float]]]) -> View:
    traces = [
        _trace(
            group,
            method,
            [(place, *point) for place, point in enumerate(points) if point[0]["method"] == method],
        )
        for method in group.marks.ordered(row["method"] for row, _ in points)
    ]
    layout: Json = {
        "xaxis": {"title": {"text": relative.title}, "rangemode": "tozero"},
        "yaxis": cells_axis(group, [row for row, _ in points]),
        "showlegend": False, "barmode": "overlay",
    }  # fmt: skip
    if relative.one:
        layout["shapes"] = [_base_line(relative.one)]
    behind = table(
        points,
        [
            ("Cell", lambda point: group.name(point[0]), False),
            (relative.title, lambda point: _text(relative, point[1]), True),
        ],
    )
    return View(relative.title, traces, layout, behind, height=110 + BAR * len(points))


def cells_axis(group: Group, rows: list[Row]) -> Json:
    """The cells' names beside their bars, the first on top. Bars stand at numbers, since plotly would read
    labels that look like numbers or dates as such."""
    return {
        "tickmode": "array", "tickvals": list(range(len(rows))),
        "ticktext": [group.tick(row) for row in rows],
        "range": [len(rows) - 0.4, -0.6], "showgrid": False, "ticks": "", "title": {"text": ""},
    }  # fmt: skip


def _trace(group: Group, method: str, chosen: list[tuple[int, Row, tuple[float, float, float]]]) -> Json:
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


def _base_line(at: float) -> Json:
    return {
        "type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper",
        "line": {"dash": "dot", "width": 1.5, "color": "#7F7F7F"},
    }  # fmt: skip


def _text(relative: Relative, found: tuple[float, float, float]) -> str:
    value, spread = with_interval(*found, relative.measure.digits)
    return f"{value} {spread}" if spread else value
