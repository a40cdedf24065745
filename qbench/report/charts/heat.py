"""Heat maps, a column for each layer and a row for each cell: error of the weights, and kernel that ran."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import ceil, floor, isnan, log10

from qbench.json_object import JsonObject
from qbench.report.charts.bars import BAR, cells_axis
from qbench.report.charts.chart import Chart, Undrawn, View, rounded, words
from qbench.report.charts.collect import Layers
from qbench.report.charts.group import Group
from qbench.report.charts.marks import GREY, PALETTE
from qbench.report.charts.measures import number
from qbench.results.columns.column import Row

SECTION = "Layer by layer"
LAYERS = 600
"""Columns of a heat map; a model with more is cut there, and the note says so."""
COLUMN = 5
"""CSS pixels that a layer has at least; a narrower screen scrolls."""
KINDS = len(PALETTE)
"""Kernels with a colour of their own; the rest share a grey."""
NO_KERNEL = "none ran"
_TICKS = 16
_ERROR = "Error of the weights by layer"
_KERNEL = "Kernel that ran by layer"
Found = list[tuple[Row, Layers]]


def layers(group: Group) -> list[Chart | Undrawn]:
    found = [
        (row, own)
        for row in group.shown
        if (own := group.collected.layers.get((row["run"], row["cell_id"]))) is not None
    ]
    if not found:
        reason = "no cell with a per-layer table has finished"
        return [Undrawn(_ERROR, reason), Undrawn(_KERNEL, reason)]
    names = _names(found)
    note = _note(group, names)
    errors = _errors(group, found, names[:LAYERS])
    kernels = _kernels(group, found, names[:LAYERS])
    return [
        Undrawn(_ERROR, "no layer has a recorded error")
        if errors is None
        else Chart(SECTION, _ERROR, f"‖w − ŵ‖ / ‖w‖, logarithmic; {note}", [errors], wide=True),
        Undrawn(_KERNEL, "no layer has a kernel that ran")
        if kernels is None
        else Chart(SECTION, _KERNEL, f"a + b: a for few rows, b for many; {note}", [kernels], wide=True),
    ]


def _note(group: Group, names: list[str]) -> str:
    left = f"; the first {LAYERS} of {len(names)} layers" if len(names) > LAYERS else ""
    return (
        "a column for each layer in the model's order, empty where a cell leaves it unquantized"
        f"{left}{group.cut_note}"
    )


def _names(found: Found) -> list[str]:
    """Every layer that a cell quantized, in the order of the cell with most of them."""
    longest = max((own.names for _, own in found), key=len)
    others = (name for _, own in found for name in own.names)
    return list(dict.fromkeys([*longest, *others]))


def _errors(group: Group, found: Found, names: list[str]) -> View | None:
    table_of = [dict(zip(own.names, own.errors, strict=True)) for _, own in found]
    values = [[_positive(own.get(name)) for name in names] for own in table_of]
    known = [value for line in values for value in line if value]
    if not known:
        return None
    low, high = floor(log10(min(known))), ceil(log10(max(known)))
    ticks = list(range(low, high + 1))
    trace = {
        "type": "heatmap", "x": list(range(len(names))), "y": list(range(len(found))),
        "z": [[rounded(log10(value)) if value else None for value in line] for line in values],
        **_cells(found), "colorscale": "Cividis", "xgap": 0, "ygap": 1,
        "colorbar": {
            "tickvals": ticks, "ticktext": [f"{10.0**power:g}" for power in ticks], "thickness": 12,
            "orientation": "h", "y": 1.0, "yanchor": "bottom", "len": 0.6, "x": 0, "xanchor": "left",
            "outlinewidth": 0,
        },
    }  # fmt: skip
    texts = [[number(own.get(name)) if name in own else "–" for name in names] for own in table_of]
    return _view(group, _ERROR, found, names, [trace], texts)


def _positive(value: float | None) -> float | None:
    """The value if it has a logarithm; an error of zero is not drawn, and stands in the table."""
    return None if value is None or isnan(value) or value <= 0 else value


def _kernels(group: Group, found: Found, names: list[str]) -> View | None:
    table_of = [dict(zip(own.names, own.kernels, strict=True)) for _, own in found]
    lines = [[own[name] or NO_KERNEL if name in own else None for name in names] for own in table_of]
    counted = Counter(kernel for line in lines for kernel in line if kernel is not None)
    if set(counted) <= {NO_KERNEL}:
        return None
    own_colour = [kernel for kernel, _ in counted.most_common() if kernel != NO_KERNEL][:KINDS]
    places = {kernel: place for place, kernel in enumerate(own_colour)}
    trace = {
        "type": "heatmap", "x": list(range(len(names))), "y": list(range(len(found))),
        "z": [[None if kernel is None else places.get(kernel, KINDS) for kernel in line] for line in lines],
        **_cells(found), "colorscale": _steps(), "zmin": -0.5, "zmax": KINDS + 0.5,
        "showscale": False, "xgap": 0, "ygap": 1,
    }  # fmt: skip
    others = sorted(set(counted) - set(own_colour))
    legend = [_key(words(kernel, 60), PALETTE[place]) for kernel, place in places.items()]
    legend += [_key(words(" or ".join(others), 60), GREY)] if others else []
    texts = [["–" if kernel is None else kernel for kernel in line] for line in lines]
    return _view(group, _KERNEL, found, names, [trace, *legend], texts)


def _cells(found: Found) -> JsonObject:
    """The cell of each line. The page's script makes hover texts from the table: pages stay small."""
    return {
        "customdata": [f"{row['run']}/{row['cell_id']}" for row, _ in found],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _steps() -> list[list[float | str]]:
    """One flat colour for each kernel, then grey."""
    colours = [*PALETTE, GREY]
    edges = [(place / len(colours), (place + 1) / len(colours)) for place in range(len(colours))]
    return [[edge, colour] for colour, pair in zip(colours, edges, strict=True) for edge in pair]


def _key(name: str, colour: str) -> JsonObject:
    """An entry of the legend, which a heat map has none of."""
    return {
        "type": "scatter", "mode": "markers", "x": [None], "y": [None], "name": name, "hoverinfo": "skip",
        "marker": {"symbol": "square", "size": 11, "color": colour},
    }  # fmt: skip


def _view(
    group: Group, name: str, found: Found, names: list[str], traces: list[JsonObject], texts: list[list[str]]
) -> View:
    rows = [row for row, _ in found]
    layout: JsonObject = {
        "xaxis": {**_blocks(names), "title": {"text": "Layers, by block"}, "range": [-0.5, len(names) - 0.5]},
        "yaxis": {**cells_axis(group, rows), "range": [len(rows) - 0.5, -0.5]},
        "margin": {"t": 64 if name == _ERROR else 24},
    }
    behind = {
        "columns": [
            {"title": "Layer", "number": False},
            *({"title": group.name(row), "number": name == _ERROR} for row in rows),
        ],
        "rows": [[layer, *(line[place] for line in texts)] for place, layer in enumerate(names)],
    }
    return View(
        name, traces, layout, behind, height=200 + BAR * len(found), least_width=200 + COLUMN * len(names)
    )


def _blocks(names: Sequence[str]) -> JsonObject:
    """Ticks at the first layer of a block, at most `_TICKS` of them."""
    starts: list[tuple[int, str]] = []
    for place, name in enumerate(names):
        number_ = re.search(r"\.(\d+)\.", name)
        label = number_[1] if number_ else name.rsplit(".", 1)[-1]
        if not starts or starts[-1][1] != label:
            starts.append((place, label))
    every = ceil(len(starts) / _TICKS)
    shown = starts[::every]
    return {
        "tickmode": "array", "tickvals": [place for place, _ in shown],
        "ticktext": [words(label, 16) for _, label in shown], "showgrid": False,
    }  # fmt: skip
