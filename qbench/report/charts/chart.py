"""What a picture is: views of plain plotly, a line that says how to read it, and the table behind it.

Every text that came from a record goes through `words`, because plotly reads a little HTML in names, ticks
and hover texts; numbers that plotly draws are those of the frame, rounded to `KEPT` digits. The table behind
a picture is built by `table` from the same points, and holds plain text that the page shows as text.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Row = dict[str, Any]
Json = dict[str, Any]
Point = TypeVar("Point")

KEPT = 6
"""Significant digits of a number in a picture; the record keeps all of them."""
MOST = 50
"""Cells in one picture; with more, those that lose least are drawn, and the note says so."""
_LABEL = 44


@dataclass(frozen=True)
class View:
    """One way to look at a picture: plotly's traces and layout, and the numbers as a table."""

    name: str
    data: list[Json]
    layout: Json
    table: Json
    height: int = 380
    """CSS pixels."""
    least_width: int = 0
    """CSS pixels under which the picture scrolls sideways; 0: it shrinks."""

    def json(self) -> Json:
        return {
            "name": self.name, "data": self.data, "layout": self.layout, "table": self.table,
            "height": self.height, "least_width": self.least_width,
        }  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """`section` is the heading under which it stands; of several `views` the reader chooses one."""

    section: str
    title: str
    note: str
    views: list[View]
    wide: bool = False
    lead: str = ""
    """How to read this and every other picture of the section; said once, above them."""

    def json(self) -> Json:
        views = [view.json() for view in self.views]
        return {
            "section": self.section, "title": self.title, "note": self.note, "views": views,
            "wide": self.wide, "lead": self.lead,
        }  # fmt: skip


@dataclass(frozen=True)
class Undrawn:
    """A picture that there is nothing for, and why."""

    title: str
    reason: str

    def json(self) -> Json:
        return {"title": self.title, "reason": self.reason}


def table(points: Iterable[Point], columns: Sequence[tuple[str, Callable[[Point], str], bool]]) -> Json:
    """The table behind a picture: `columns` are title, text of a point, whether it is a number."""
    return {
        "columns": [{"title": title, "number": number} for title, _, number in columns],
        "rows": [[text(point) for _, text, _ in columns] for point in points],
    }


def words(text: object, longest: int = _LABEL) -> str:
    """Safe where plotly reads HTML: cut, one line, markup escaped."""
    return html.escape(cut(text, longest))


def cut(text: object, longest: int = _LABEL) -> str:
    """One line of at most so many characters; what was cut is marked by an ellipsis."""
    raw = str(text)[: 4 * longest]  # so that a text of a megabyte costs nothing
    line = " ".join("".join(one if one.isprintable() else " " for one in raw).split())
    if len(line) <= longest and len(str(text)) <= 4 * longest:
        return line
    return f"{line[: longest - 1]}…"


def kept(value: float | None) -> float | None:
    """The number with `KEPT` significant digits; None where there is none that can be drawn."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{KEPT}g}")
