"""Latency by prompt length and batch size: a line for each cell, a point for each workload.

The first view is relative to the base's median: a method gains or costs a few percent, a longer prompt many
times that. One disturbed round must not flatten the rest, so the axis ends soon above the largest median and
longer bars are cut; the table of the chart has them whole.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from qbench.json_object import JsonObject
from qbench.report.charts.bars import Spread
from qbench.report.charts.chart import Chart, Undrawn, View, rounded, table, words
from qbench.report.charts.collect import Timed
from qbench.report.charts.group import Group, losing_least
from qbench.report.charts.marks import DASHES, faint
from qbench.report.charts.measures import axis
from qbench.report.view.digits import Scale, scale_for, spread_text
from qbench.results.columns.column import Row

SECTION = "Latency by prompt length and batch size"
LINES = 12
"""Lines in a chart; its table has all that are drawn, the records have the rest."""
DODGE = 0.35
"""Points of one length are spread over this share of the way to the next: bars must not overlap."""
CLIP = 1.5
"""End of the axis, over the largest median."""


@dataclass(frozen=True)
class Part:
    """A phase of the latency, and its time."""

    title: str
    read: Callable[[Timed], Spread | None]
    per: str


PARTS = (
    Part("Prefill time", lambda timed: timed.prefill_s, ""),
    Part("Decode time", lambda timed: timed.decode_s_per_token, "token"),
)


@dataclass(frozen=True)
class Point:
    """One cell at one prompt length or batch size."""

    row: Row
    at: int
    """Prompt length, or batch size where only that varies."""
    spread: Spread


Lines = list[tuple[Row, list[Point]]]


def times(group: Group) -> list[Chart | Undrawn]:
    rows = [row for row in group.shown if _workloads(group, row)]
    if not rows:
        return [Undrawn(SECTION, "no cell was timed at more than one prompt length or batch size")]
    drawn = losing_least(rows, LINES)
    views = [view for part in PARTS for view in _views(group, drawn, part)]
    left = f"; {len(drawn)} of {len(rows)} cells, those that lose least" if len(drawn) < len(rows) else ""
    note = (
        "median; bars: 95 % interval of it, of fewer than six repetitions their range; a step of decoding "
        "gives one token to every sequence of the batch; × base: over the base's median; where a bar is "
        f"longer, the axis ends at {CLIP:g} × the largest median{left}"
    )
    return [Chart(SECTION, SECTION, note, views, wide=True)]


def _workloads(group: Group, row: Row) -> list[Timed]:
    return group.collected.timed.get((row["run"], row["cell_id"]), [])


def _views(group: Group, rows: list[Row], part: Part) -> Iterator[View]:
    """A view for each batch size; where only that varies, one over batch sizes."""
    timed = [workload for row in rows for workload in _workloads(group, row)]
    batches = sorted({workload.batch_size for workload in timed})
    if len({workload.prompt_length for workload in timed}) == 1:
        yield from _view(group, rows, part, "", "Batch size", lambda workload: workload.batch_size)
        return
    for batch in batches:
        which = f", batch {batch}" if len(batches) > 1 else ""
        yield from _view(group, rows, part, which, "Prompt length (tokens)", _length_at(batch))


def _length_at(batch: int) -> Callable[[Timed], int | None]:
    return lambda workload: workload.prompt_length if workload.batch_size == batch else None


def _view(
    group: Group, rows: list[Row], part: Part, which: str, title: str, at: Callable[[Timed], int | None]
) -> Iterator[View]:
    """A view relative to the base, where that was timed too, and one in seconds."""
    lines = [(row, points) for row in rows if (points := _points(group, row, part, at))]
    if not lines:
        return
    relative = _over_base(lines)
    if len(relative) > 1:
        yield _drawn(group, relative, f"{part.title} × base", which, title, Scale())
    scale = scale_for([point.spread[0] for _, points in lines for point in points], "s")
    yield _drawn(group, lines, part.title, which, title, scale.per(part.per) if part.per else scale)


def _over_base(lines: Lines) -> Lines:
    """Every spread over its base's median at the same place; without the places that the base lacks."""
    medians = {_key(row, "cell_id"): {point.at: point.spread[0] for point in points} for row, points in lines}
    over = []
    for row, points in lines:
        base = medians.get(_key(row, "cell_id" if row["method"] == "none" else "base_cell_id"), {})
        over.append((row, [_divided(point, base[point.at]) for point in points if base.get(point.at)]))
    return [(row, points) for row, points in over if points]


def _key(row: Row, cell: str) -> tuple[str, str]:
    return row["run"], row[cell]


def _divided(point: Point, by: float) -> Point:
    middle, low, high = point.spread
    return replace(point, spread=(middle / by, low / by, high / by))


def _drawn(group: Group, lines: Lines, name: str, which: str, title: str, scale: Scale) -> View:
    places = sorted({point.at for _, points in lines for point in points})
    heading = f"{name} ({scale.unit})" if scale.unit else name
    layout = {
        "xaxis": {
            "title": {"text": title}, "type": "log", "tickmode": "array", "tickvals": places,
            "ticktext": [str(place) for place in places],
        },
        "yaxis": _clipped(heading, [point.spread for _, points in lines for point in points], scale),
    }  # fmt: skip
    behind = table(
        [point for _, points in lines for point in points],
        [
            ("Cell", lambda point: group.name(point.row), False),
            (title, lambda point: str(point.at), True),
            (heading, lambda point: _text(point, scale), True),
        ],
    )
    step = _step(places, len(lines))
    traces = [
        _line(group, row, points, scale, place, step ** (place - (len(lines) - 1) / 2))
        for place, (row, points) in enumerate(lines)
    ]
    return View(f"{name}{which}", traces, layout, behind, height=460)


def _step(places: list[int], lines: int) -> float:
    """Factor between the places of one line and of the next, so that their bars do not overlap."""
    nearest = min((after / before for before, after in itertools.pairwise(places)), default=2.0)
    return float(nearest ** (DODGE / max(1, lines - 1)))


def _clipped(heading: str, spreads: list[Spread], scale: Scale) -> JsonObject:
    """The axis, with an end where a bar is longer than `CLIP` × the largest median."""
    found = axis(heading, [middle for middle, _, _ in spreads])
    top = CLIP * max(middle for middle, _, _ in spreads) / scale.factor
    if max(high for _, _, high in spreads) / scale.factor <= top:
        return found
    bottom = 0.95 * min(low for _, low, _ in spreads) / scale.factor
    if found["type"] == "log":
        return {**found, "range": [rounded(math.log10(end)) for end in (bottom, top)]}
    return {**found, "range": [rounded(bottom), rounded(top)]}


def _points(group: Group, row: Row, part: Part, at: Callable[[Timed], int | None]) -> list[Point]:
    found = [
        Point(row, place, spread)
        for workload in _workloads(group, row)
        if (place := at(workload)) is not None and (spread := part.read(workload)) is not None
    ]
    return sorted(found, key=lambda point: point.at)


def _line(group: Group, row: Row, points: list[Point], scale: Scale, place: int, aside: float) -> JsonObject:
    mark = group.marks.of(row["method"])
    spreads = [tuple(value / scale.factor for value in point.spread) for point in points]
    return {
        "type": "scatter", "mode": "lines+markers", "name": group.tick(row),
        "x": [rounded(point.at * aside) for point in points],
        "y": [rounded(middle) for middle, _, _ in spreads],
        "error_y": {
            "type": "data", "array": [rounded(high - middle) for middle, _, high in spreads],
            "arrayminus": [rounded(middle - low) for middle, low, _ in spreads],
            "thickness": 1.2, "width": 3, "color": faint(mark.colour),
        },
        "text": [_hover(group, point, scale) for point in points],
        "customdata": [f"{row['run']}/{row['cell_id']}"] * len(points),
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": mark.colour, "dash": DASHES[place % len(DASHES)], "width": 1.6},
        "marker": {"size": 8, "color": mark.colour, "symbol": mark.symbol},
    }  # fmt: skip


def _hover(group: Group, point: Point, scale: Scale) -> str:
    return f"<b>{words(group.name(point.row), 60)}</b><br>{_text(point, scale)} {scale.unit}"


def _text(point: Point, scale: Scale) -> str:
    middle, low, high = (part / scale.factor for part in point.spread)
    return spread_text(middle, low, high, 3)
