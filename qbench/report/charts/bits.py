"""Loss of quality by bits per weight: a line for each method, joined from width to width."""

from __future__ import annotations

import json
from collections import defaultdict

from qbench.json_object import JsonObject
from qbench.report.charts.chart import Chart, Undrawn, View, table, words
from qbench.report.charts.costs import quality_of
from qbench.report.charts.group import Group
from qbench.report.charts.marks import DASHES, FILLS, faint
from qbench.report.charts.measures import BITS, Measure, axis
from qbench.results.columns.column import Row

SECTION = "Quality by bits per weight"
WIDTHS = frozenset({"num_bits"})
"""Parameters along which a line runs; all others are the same on it."""
Family = tuple[str, str]
"""Method, and the parameters that do not vary along its line as JSON."""


def bits(group: Group) -> list[Chart | Undrawn]:
    views = [view for quality in quality_of(group) if (view := _view(group, quality))]
    if not views:
        return [Undrawn(SECTION, "fewer than two quantized cells have both a quality and bits per weight")]
    note = (
        f"{group.protocols}; metadata counts as bits; bars: 95 % interval; a line joins the cells of one "
        f"method that differ in num_bits alone{group.cut_note}"
    )
    return [Chart(SECTION, SECTION, note, views, wide=True)]


def families(rows: list[Row]) -> dict[Family, list[Row]]:
    """Quantized cells by what they share but for their width, each line by rising bits."""
    found: dict[Family, list[Row]] = defaultdict(list)
    for row in rows:
        shared = {name: value for name, value in json.loads(row["params"]).items() if name not in WIDTHS}
        found[row["method"], json.dumps(shared, sort_keys=True)].append(row)
    return {
        family: sorted(members, key=lambda row: row["bits_per_weight"])
        for family, members in sorted(found.items())
    }


def _view(group: Group, quality: Measure) -> View | None:
    rows = [
        row for row in group.shown
        if row["method"] != "none" and row[quality.name] is not None and row["bits_per_weight"] is not None
    ]  # fmt: skip
    if len(rows) < 2:
        return None
    scale = quality.scale(rows)
    lines = families(rows)
    names = _names(list(lines))
    seen: dict[str, int] = defaultdict(int)
    traces = []
    for family, members in lines.items():
        traces.append(_line(group, names[family], members, quality, seen[family[0]]))
        seen[family[0]] += 1
    layout = {
        "xaxis": axis(BITS.title, []),
        "yaxis": axis(quality.heading(scale), [row[quality.name] for row in rows], quality.wide),
    }
    points = [(names[family], row) for family, members in lines.items() for row in members]
    behind = table(
        points,
        [
            ("Line", lambda point: point[0], False),
            ("Cell", lambda point: group.name(point[1]), False),
            (BITS.title, lambda point: BITS.text(point[1], BITS.scale([])), True),
            (quality.heading(scale), lambda point: quality.text(point[1], scale), True),
        ],
    )
    return View(quality.title, traces, layout, behind, height=440)


def _names(found: list[Family]) -> dict[Family, str]:
    """The method, and of its parameters those in which its lines differ."""
    names = {}
    for method, shared in found:
        own = json.loads(shared)
        others = [json.loads(text) for name, text in found if name == method]
        telling = [key for key, value in own.items() if any(other.get(key) != value for other in others)]
        said = [f"{key} {_plain(own[key])}" for key in telling if own[key] is not None]
        names[method, shared] = " ".join([method, *said])
    return names


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _line(group: Group, name: str, rows: list[Row], quality: Measure, place: int) -> JsonObject:
    mark = group.marks.of(rows[0]["method"])
    scale = quality.scale([])
    error = quality.error(rows, scale)
    return {
        "type": "scatter", "mode": "lines+markers" if len(rows) > 1 else "markers", "name": words(name, 48),
        "x": BITS.drawn(rows, BITS.scale([])), "y": quality.drawn(rows, scale),
        **({"error_y": {**error, "color": faint(mark.colour)}} if error else {}),
        "text": [_hover(group, row, quality) for row in rows],
        "customdata": [f"{row['run']}/{row['cell_id']}" for row in rows],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": mark.colour, "dash": DASHES[place % len(DASHES)], "width": 1.8},
        "marker": {"size": 9, "color": mark.colour, "symbol": mark.symbol + FILLS[place % len(FILLS)]},
    }  # fmt: skip


def _hover(group: Group, row: Row, quality: Measure) -> str:
    scale = quality.scale([])
    return (
        f"<b>{words(group.name(row), 60)}</b><br>{BITS.text(row, BITS.scale([]))} bits per weight"
        f"<br>{quality.heading(scale)}: {quality.text(row, scale)}"
    )
