"""Resident bytes of each cell, stacked by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qbench.json_object import JsonObject
from qbench.report.charts.bars import BAR, THICK, cells_axis
from qbench.report.charts.chart import Chart, Undrawn, View, rounded, table, words
from qbench.report.charts.costs import why_not
from qbench.report.charts.group import Group
from qbench.report.charts.marks import GREY, PALETTE, PATTERNS
from qbench.report.charts.measures import WEIGHTS, number
from qbench.report.view.digits import Scale, scale_for
from qbench.results.columns.column import Row

SECTION = "Memory by part"


@dataclass(frozen=True)
class Part:
    """One part of the memory: its title, the column of its bytes, its colour."""

    title: str
    column: str
    colour: str
    pattern: str
    less: str = ""
    """Column that is taken off, where it is known."""

    def read(self, row: Row) -> float | None:
        taken = row[self.less] if self.less else None
        return None if row[self.column] is None else float(row[self.column] - (taken or 0))


PARTS = (
    Part("codes", "quantized_bytes", PALETTE[0], PATTERNS[0]),
    Part("metadata", "metadata_bytes", PALETTE[1], PATTERNS[1]),
    Part("embeddings and head", "embedding_bytes", PALETTE[2], PATTERNS[2]),
    Part("other unquantized", "rest_bytes", GREY, PATTERNS[0], less="embedding_bytes"),
    Part("KV cache", "kv_cache_bytes", PALETTE[4], PATTERNS[4]),
    Part("activations", "activation_bytes", PALETTE[3], PATTERNS[3]),
)


def memory(group: Group) -> list[Chart | Undrawn]:
    rows = [row for row in group.shown if row["weight_bytes"] is not None]
    if not rows:
        return [Undrawn(SECTION, why_not(group, WEIGHTS))]
    parts = [part for part in PARTS if any(part.read(row) for row in rows)]
    lacking = [part.title for part in PARTS if all(part.read(row) is None for row in rows)]
    missing = f"; not measured: {', '.join(lacking)}" if lacking else ""
    note = (
        "resident bytes of the weights by part, and on top KV cache and activations of the run that "
        f"measured memory{missing}{group.cut_note}"
    )
    return [Chart(SECTION, SECTION, note, [_view(group, rows, parts)], wide=True)]


def total(row: Row) -> float:
    """Sum of the known parts."""
    return sum(part.read(row) or 0.0 for part in PARTS)


def _view(group: Group, rows: list[Row], parts: list[Part]) -> View:
    scale = scale_for([total(row) for row in rows], "B")
    heading = f"Memory ({scale.unit})"
    layout = {
        "barmode": "stack", "yaxis": cells_axis(group, rows),
        "xaxis": {"title": {"text": heading}, "rangemode": "tozero"},
    }  # fmt: skip
    behind = table(
        rows,
        [
            ("Cell", group.name, False),
            *((f"{part.title} ({scale.unit})", _cell(part, scale), True) for part in parts),
            (f"together ({scale.unit})", lambda row: number(total(row) / scale.factor, 4), True),
        ],
    )
    traces = [_trace(group, rows, part, scale) for part in parts]
    return View(SECTION, traces, layout, behind, height=150 + BAR * len(rows))


def _cell(part: Part, scale: Scale) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = part.read(row)
        return number(None if value is None else value / scale.factor, 4)

    return text


def _trace(group: Group, rows: list[Row], part: Part, scale: Scale) -> JsonObject:
    values = [part.read(row) for row in rows]
    return {
        "type": "bar", "orientation": "h", "width": THICK, "name": part.title, "y": list(range(len(rows))),
        "x": [rounded(None if value is None else value / scale.factor) for value in values],
        "text": [words(group.name(row), 60) for row in rows], "textposition": "none",
        "customdata": [f"{row['run']}/{row['cell_id']}" for row in rows],
        "hovertemplate": f"<b>%{{text}}</b><br>{part.title}: %{{x}} {scale.unit}<extra></extra>",
        "marker": {
            "color": part.colour,
            "pattern": {
                "shape": part.pattern, "fillmode": "overlay", "size": 6, "solidity": 0.2,
                "fgcolor": "#ffffff",
            },
        },
    }  # fmt: skip
