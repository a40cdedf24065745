"""Pictures as plain plotly figures (dicts); the page's script gives them the colours of its theme.

Text from records is escaped here, because plotly reads a little HTML in names and hover texts.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from qbench.report.answers import name_of
from qbench.report.digits import Scale, scale_for
from qbench.report.pareto import front

Row = dict[str, Any]
Figure = dict[str, Any]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Okabe and Ito's colours, which the colour-blind can tell apart, less the yellow that white swallows."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star")
_WIDE_RANGE = 8.0


@dataclass(frozen=True)
class Axis:
    """A column as an axis, with the columns of its interval's ends where it has one."""

    name: str
    title: str
    unit: str = ""
    low: str = ""
    high: str = ""


BITS = Axis("bits_per_weight", "bits per weight")
RATIO = Axis("perplexity_ratio", "perplexity × base", "", "perplexity_ratio_low", "perplexity_ratio_high")
PERPLEXITY = Axis("perplexity", "perplexity", "", "perplexity_low", "perplexity_high")
WEIGHTS = Axis("weight_bytes", "weight memory", "B")
DECODE = Axis(
    "decode_s_per_token", "decode time per token", "s", "decode_s_per_token_min", "decode_s_per_token_max"
)


def figures(rows: list[Row], protocol: str | None) -> list[Figure]:
    """The pictures that these rows (one model, dtype and device) have at least two points for.

    Perplexity is drawn relative to the base where every row has that, since the paired interval is what
    tells methods apart; else as it is.
    """
    finished = [row for row in rows if row["status"] == "ok"]
    scored = [row for row in finished if row["perplexity"] is not None]
    related = bool(scored) and all(row["perplexity_ratio"] is not None for row in scored)
    quality = (
        f"{protocol or 'mixed protocols'}; bars: 95 % interval{', paired with the base' if related else ''}"
    )
    drawn = [
        _scatter(finished, BITS, RATIO if related else PERPLEXITY, quality),
        _scatter(finished, WEIGHTS, DECODE, "median; bars: range of the repetitions"),
    ]
    return [figure for figure in drawn if figure is not None]


def _scatter(rows: list[Row], x: Axis, y: Axis, note: str) -> Figure | None:
    points = [row for row in rows if row[x.name] is not None and row[y.name] is not None]
    if len(points) < 2:
        return None
    scales = tuple(scale_for([row[axis.name] for row in points], axis.unit) for axis in (x, y))
    best = front([(row[x.name], row[y.name]) for row in points])
    methods = sorted({row["method"] for row in points}, key=lambda method: (method != "none", method))
    traces = [_front_trace([points[index] for index in best], x, y, scales)]
    for place, method in enumerate(methods):
        chosen = [(row, index in best) for index, row in enumerate(points) if row["method"] == method]
        traces.append(_trace(chosen, x, y, scales, place))
    values = [row[y.name] for row in points]
    log = min(values) > 0 and max(values) / min(values) > _WIDE_RANGE
    y_title = _axis(y.title, scales[1])
    return {
        "title": f"{y_title[0].upper()}{y_title[1:]} against {x.title}",
        "note": f"{note}{'; logarithmic' if log else ''}",
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": _axis(x.title, scales[0])}},
            "yaxis": {"type": "log" if log else "linear"},
        },
    }


def _axis(title: str, scale: Scale) -> str:
    return f"{title} ({scale.unit})" if scale.unit else title


def _front_trace(rows: list[Row], x: Axis, y: Axis, scales: tuple[Scale, ...]) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "Pareto front",
        "x": [row[x.name] / scales[0].factor for row in rows],
        "y": [row[y.name] / scales[1].factor for row in rows],
        "line": {"dash": "dot", "width": 1.5, "color": "#8a8f98"},
        "hoverinfo": "skip",
    }


def _trace(chosen: list[tuple[Row, bool]], x: Axis, y: Axis, scales: tuple[Scale, ...], place: int) -> Figure:
    """One method's points; those that another point beats in both numbers are faded."""
    rows = [row for row, _ in chosen]
    colour = PALETTE[place % len(PALETTE)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": html.escape(rows[0]["method"]),
        "x": [row[x.name] / scales[0].factor for row in rows],
        "y": [row[y.name] / scales[1].factor for row in rows],
        "error_y": {
            "type": "data",
            "array": [_gap(row, y.high, y, scales[1]) for row in rows],
            "arrayminus": [_gap(row, y.low, y, scales[1]) for row in rows],
            "thickness": 1.3,
            "width": 3,
            "color": f"rgba({', '.join(str(part) for part in bytes.fromhex(colour[1:]))}, 0.55)",
        },
        "text": [html.escape(name_of(row)) for row in rows],
        "hovertemplate": "<b>%{text}</b><br>%{x:.4~r} · %{y:.5~r}<extra></extra>",
        "marker": {
            "size": 10,
            "color": colour,
            "symbol": SYMBOLS[place % len(SYMBOLS)],
            "opacity": [1.0 if on_front else 0.6 for _, on_front in chosen],
        },
    }


def _gap(row: Row, end: str, y: Axis, scale: Scale) -> float:
    return 0.0 if not end or row[end] is None else abs(row[end] - row[y.name]) / scale.factor
