"""Charts as data: views of plain plotly, a line on how to read them, and the table of their numbers.

Every text of a record goes through `words`, because plotly reads a little HTML in names, ticks and hover
texts; numbers that plotly draws are those of the frame, rounded to `DIGITS` digits. The table of a chart is
built by `table` from the same points, and holds plain text that the page shows as text.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from qbench.json_object import JsonObject

Point = TypeVar("Point")

DIGITS = 6
"""Significant digits of a number in a chart; the record has all of them."""
MOST = 50
"""Cells in one chart; of more, those that lose least are drawn, and the note says so."""
_LABEL = 44


@dataclass(frozen=True)
class View:
    """One view of a chart: plotly's traces and layout, and the numbers as a table."""

    name: str
    data: list[JsonObject]
    layout: JsonObject
    table: JsonObject
    height: int = 380
    """CSS pixels."""
    least_width: int = 0
    """CSS pixels under which the chart scrolls sideways; 0: it shrinks."""


@dataclass(frozen=True)
class Chart:
    """A chart under the heading `section`; of several `views` the reader chooses one."""

    section: str
    title: str
    note: str
    views: list[View]
    wide: bool = False
    lead: str = ""
    """How to read the charts of the section; printed once, above them."""

    def json(self) -> JsonObject:
        return {**vars(self), "views": [vars(view) for view in self.views]}


@dataclass(frozen=True)
class Undrawn:
    """A chart without data, and the reason."""

    title: str
    reason: str

    def json(self) -> JsonObject:
        return vars(self)


def table(points: Iterable[Point], columns: Sequence[tuple[str, Callable[[Point], str], bool]]) -> JsonObject:
    """The table of a chart's numbers: `columns` are title, text of a point, whether it is a number."""
    return {
        "columns": [{"title": title, "number": number} for title, _, number in columns],
        "rows": [[text(point) for _, text, _ in columns] for point in points],
    }


def words(text: object, longest: int = _LABEL) -> str:
    """Text that is safe where plotly reads HTML: cut, one line, markup escaped."""
    return html.escape(cut(text, longest))


def cut(text: object, longest: int = _LABEL) -> str:
    """One line of at most so many characters; what was cut is marked by an ellipsis."""
    raw = str(text)[: 4 * longest]  # so that a text of a megabyte costs nothing
    line = " ".join("".join(one if one.isprintable() else " " for one in raw).split())
    if len(line) <= longest and len(str(text)) <= 4 * longest:
        return line
    return f"{line[: longest - 1]}…"


def rounded(value: float | None) -> float | None:
    """The number with `DIGITS` significant digits; None for null, infinity and NaN."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")
