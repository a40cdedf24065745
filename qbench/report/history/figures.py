"""One series as a small plotly figure (a dict): values, levels, changes, gaps."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from qbench.json_object import JsonObject
from qbench.report.history.changes import Sense, change_words, date, sense
from qbench.report.view.digits import Scale
from qbench.results.history.series import Change, RunPoint, Series

Span = tuple[str, str]

LINE, LEVEL, GREY = "#4f94c4", "#8fa3b0", "#8a8f98"
COLOURS: dict[Sense, str] = {
    "worse": "#D55E00",
    "better": "#009E73",
    "changed": "#CC9A00",
    "environment": GREY,
}
_ROOM = 0.12
"""Margin above and below the values, as a share of their span."""
_FLAT = 0.002
"""Least span of the axis as a share of the values, so that smaller noise does not fill it."""
_LONGEST = 160
"""Most characters of a hover text."""
_BREAK = 2.5
"""A line is broken where two runs lie so many usual distances apart."""


def figure(series: Series, scale: Scale, span: Span) -> JsonObject:
    """Figure of a series; `span` is the axis of time that all pictures of the page share."""
    low, high = _range(series, scale)
    traces = [_values(series, scale), _levels(series, scale)]
    if series.changes:
        traces.append(_changes(series, scale))
    if series.gaps:
        traces.append(_gaps(series, low))
    return {
        "small": True,
        "data": traces,
        "layout": {
            "showlegend": False,
            "hovermode": "closest",
            "margin": {"l": 46, "r": 10, "t": 6, "b": 26},
            "xaxis": {"type": "date", "range": list(span), "nticks": 5},
            "yaxis": {"range": [low, high], "nticks": 4},
            "shapes": [_dashed(change) for change in series.changes if change.kind == "environment"],
        },
    }


def span_of(found: Sequence[Series]) -> Span:
    """Times of the first and the last run of all series, with a margin."""
    times = [time for series in found for point in series.points if (time := point.run.started_at)]
    if not times:
        return ("1970-01-01", "1970-01-02")
    room = max((max(times) - min(times)) * 0.02, timedelta(hours=6))
    return (_stamp(min(times) - room), _stamp(max(times) + room))


def _values(series: Series, scale: Scale) -> JsonObject:
    points = _with_breaks(series.points)
    return {
        "type": "scatter", "mode": "lines+markers",
        "x": [_time(point) if point else None for point in points],
        "y": [_scaled(point.value, scale) if point else None for point in points],
        "text": [_said(point) if point else "" for point in points],
        "hovertemplate": "%{x|%Y-%m-%d}<br><b>%{y:.5~r}</b> " + scale.unit + "<br>%{text}<extra></extra>",
        "line": {"width": 1.2, "color": LINE}, "marker": {"size": 4, "color": LINE}, "connectgaps": False,
    }  # fmt: skip


def _levels(series: Series, scale: Scale) -> JsonObject:
    """The median of each segment, from its first run to its last."""
    x: list[str | None] = []
    y: list[float | None] = []
    segments = series.segments()
    for _, members in itertools.groupby(range(len(segments)), key=segments.__getitem__):
        points = [point for place in members if (point := series.points[place]).value is not None]
        if points:
            level = _median([point.value or 0.0 for point in points]) / scale.factor
            x += [_time(points[0]), _time(points[-1]), None]
            y += [level, level, None]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip",
        "line": {"width": 3, "color": LEVEL}, "opacity": 0.35,
    }  # fmt: skip


def _changes(series: Series, scale: Scale) -> JsonObject:
    said = change_words(series)
    senses = [sense(change, series.metric) for change in series.changes]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_time(change.after) for change in series.changes],
        "y": [change.new / scale.factor for change in series.changes],
        "text": [
            "<br>".join(map(html.escape, (f"{words.date}: {words.text}", words.commits, *words.facts)))
            for words in said
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "size": 11,
            "symbol": ["diamond" if one != "environment" else "line-ns-open" for one in senses],
            "color": [COLOURS[one] for one in senses],
            "line": {"width": 1.5, "color": [COLOURS[one] for one in senses]},
        },
    }


def _gaps(series: Series, low: float) -> JsonObject:
    """Crosses along the lower edge."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_time(point) for point in series.gaps],
        "y": [low] * len(series.gaps),
        "text": [html.escape(f"{date(point)}: {point.reason}"[:_LONGEST]) for point in series.gaps],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"size": 8, "symbol": "x-thin", "line": {"width": 2, "color": COLOURS["worse"]}},
        "cliponaxis": False,
    }  # fmt: skip


def _dashed(change: Change) -> JsonObject:
    time = _time(change.after)
    return {
        "type": "line", "xref": "x", "yref": "paper", "x0": time, "x1": time, "y0": 0, "y1": 1,
        "line": {"width": 1.2, "dash": "dash", "color": GREY},
    }  # fmt: skip


def _with_breaks(points: Sequence[RunPoint]) -> list[RunPoint | None]:
    """The points, with None where far more time passed than usual between two runs."""
    times = [point.run.started_at for point in points]
    steps = [_days(earlier, later) for earlier, later in itertools.pairwise(times)]
    usual = _median([step for step in steps if step]) if any(steps) else math.inf
    found: list[RunPoint | None] = list(points[:1])
    for point, step in zip(points[1:], steps, strict=True):
        found += [None, point] if step > _BREAK * usual else [point]
    return found


def _days(earlier: datetime | None, later: datetime | None) -> float:
    return (later - earlier).total_seconds() / 86_400 if earlier and later else 0.0


def _range(series: Series, scale: Scale) -> tuple[float, float]:
    values = [(point.value or 0.0) / scale.factor for point in series.measured]
    low, high = min(values), max(values)
    least = _FLAT * max(abs(low), abs(high)) or 1.0
    room = max((high - low) * _ROOM, (least - (high - low)) / 2)
    return low - room, high + room


def _said(point: RunPoint) -> str:
    commit = point.run.commit
    revision = commit[:8] if commit else f"qbench {point.run.version}"
    if not point.run.known:
        revision = "commit and machine unknown: the run's manifest could not be read"
    return html.escape(revision if point.value is not None else point.reason or "")


def _scaled(value: float | None, scale: Scale) -> float | None:
    return None if value is None else value / scale.factor


def _time(point: RunPoint) -> str | None:
    return _stamp(point.run.started_at) if point.run.started_at else None


def _stamp(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
