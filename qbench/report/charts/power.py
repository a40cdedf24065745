"""Energy over time: power samples and the counter's steps around each window of work, with its edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from statistics import fmean
from typing import Any

from qbench.json_object import JsonObject
from qbench.probes.energy.windows import idle_w, worked
from qbench.report.charts.chart import Chart, Undrawn, View, rounded, table
from qbench.report.charts.collect import ENERGY_CELLS
from qbench.report.charts.costs import why_not
from qbench.report.charts.group import Group
from qbench.report.charts.marks import DASHES, GREY, PALETTE
from qbench.report.charts.measures import ENERGY, number
from qbench.results.columns.column import Row

SECTION = "Energy over time"
CELLS = 12
SAMPLES = 200
"""Power samples of a window that are drawn; of more, an even selection."""
PARTS = {"decode": "decoding", "prefill": "prefill"}


@dataclass(frozen=True)
class Window:
    """One trial, in seconds from the begin of the work."""

    trial: int
    work_s: float
    power: list[tuple[float, float]]
    """(s, W) of the power samples."""
    counter: list[tuple[float, float, float]]
    """(from s, to s, mean W) between consecutive steps of the counter; empty without one."""
    edges: tuple[float, float] | None
    """The steps between which the counter's difference is taken."""
    energy_j: float
    """Energy of the work alone, as `windows.worked` returns it."""


def energy_windows(sample: Mapping[str, Any], part: str) -> list[Window]:
    """Every window of `part` (`prefill`, `decode`) whose samples are recorded."""
    found = sample.get(part) or {}
    if "work_s" not in found:  # an older record, without the samples
        return []
    joules = [window.energy_j for window in worked(sample, part)]
    if len(joules) != len(found["work_s"]):
        return []
    return [_window(found, place, energy_j) for place, energy_j in enumerate(joules)]


def _window(part: Mapping[str, Any], place: int, energy_j: float) -> Window:
    ticks = (part.get("ticks") or [])[place : place + 1]
    at = [((after + by) / 2, joules) for after, by, joules in (ticks[0] if ticks and ticks[0] else [])]
    counter = [(one[0], two[0], (two[1] - one[1]) / (two[0] - one[0])) for one, two in pairwise(at)]
    return Window(
        trial=place + 1, work_s=part["work_s"][place],
        power=list(zip(part["power_s"][place], part["power_w"][place], strict=True)), counter=counter,
        edges=(at[1][0], at[-2][0]) if len(at) > 3 else None, energy_j=energy_j,
    )  # fmt: skip


def power(group: Group) -> list[Chart | Undrawn]:
    held = [row for row in group.shown if (row["run"], row["cell_id"]) in group.collected.energy]
    views = [view for row in held[:CELLS] for view in _views(group, row)]
    if not views:
        left = group.collected.energy_left_out and f"only the first {ENERGY_CELLS} cells' windows are kept"
        return [Undrawn(SECTION, left or why_not(group, ENERGY))]
    more = f"; the first {CELLS} of {len(held)} cells" if len(held) > CELLS else ""
    note = (
        "points: power samples; steps: mean power between two steps of the counter; upright lines: edges of "
        f"the window and of the work in it; second 0 is the begin of the work{more}"
    )
    return [Chart(SECTION, SECTION, note, views, wide=True)]


def _views(group: Group, row: Row) -> Iterator[View]:
    sample = group.collected.energy[row["run"], row["cell_id"]]
    for part, title in PARTS.items():
        windows = energy_windows(sample, part)
        if windows:
            yield _view(f"{group.name(row)}, {title}", windows, idle_w(sample, part))


def _view(name: str, windows: list[Window], rest: list[float]) -> View:
    traces = [trace for window in windows for trace in _traces(window)]
    last = max(window.work_s for window in windows)
    if rest:
        ends = [min([0.0, *(one.edges[0] for one in windows if one.edges)]), last]
        traces.append(_line("at rest", ends, [fmean(rest)] * 2, GREY, "dot"))
    layout = {
        "xaxis": {"title": {"text": "Seconds from the begin of the work"}},
        "yaxis": {"title": {"text": "Power (W)"}, "rangemode": "tozero"},
    }
    return View(name, traces, layout, _behind(windows), height=420)


def _behind(windows: list[Window]) -> JsonObject:
    """Every number that is drawn, with its kind and time."""
    rows: list[tuple[int, str, float, str]] = []
    for window in windows:
        drawn = _thinned(window.power)
        rows += [(window.trial, "power sample", at, f"{number(watts, 4)} W") for at, watts in drawn]
        rows += [
            (window.trial, f"counter, until {end:.3f} s", start, f"{number(watts, 4)} W")
            for start, end, watts in window.counter
        ]
        rows.append(
            (window.trial, "end of the work", window.work_s, f"{number(window.energy_j, 4)} J of work")
        )
    return table(
        rows,
        [
            ("Trial", lambda row: str(row[0]), True),
            ("What", lambda row: row[1], False),
            ("At (s)", lambda row: f"{row[2]:.3f}", True),
            ("Number", lambda row: row[3], True),
        ],
    )


def _traces(window: Window) -> list[JsonObject]:
    colour = PALETTE[(window.trial - 1) % len(PALETTE)]
    trial = f"trial {window.trial}"
    drawn = _thinned(window.power)
    traces = []
    if drawn:
        line = _line(
            f"{trial}, samples", [at for at, _ in drawn], [watts for _, watts in drawn], colour, "solid"
        )
        traces.append({**line, "mode": "lines+markers", "marker": {"size": 5, "color": colour}})
    if window.counter:
        at = [value for start, end, _ in window.counter for value in (start, end)]
        watts = [value for _, _, mean in window.counter for value in (mean, mean)]
        traces.append(_line(f"{trial}, counter", at, watts, colour, "dash"))
    return [*traces, _edges(window, colour)]


def _thinned(samples: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return samples[:: max(1, ceil(len(samples) / SAMPLES))]


def _edges(window: Window, colour: str) -> JsonObject:
    """Upright lines at the window's edges and at begin and end of the work."""
    top = max([watts for _, watts in window.power] + [watts for _, _, watts in window.counter], default=1.0)
    places = sorted({0.0, window.work_s, *(window.edges or ())})
    across: list[float | None] = [value for place in places for value in (place, place, None)]
    upright: list[float | None] = [value for _ in places for value in (0.0, top, None)]
    return {**_line(f"trial {window.trial}, edges", across, upright, colour, DASHES[2]), "opacity": 0.6}


def _line(name: str, x: list[Any], y: list[Any], colour: str, dash: str) -> JsonObject:
    return {
        "type": "scatter", "mode": "lines", "name": name,
        "x": [rounded(value) for value in x], "y": [rounded(value) for value in y],
        "line": {"color": colour, "dash": dash, "width": 1.4},
        "hovertemplate": "%{x:.3f} s, %{y:.4~r} W<extra></extra>",
    }  # fmt: skip
