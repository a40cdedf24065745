"""`Column`: what any table has to know of one column: title, unit, group, rank, companions."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

Row = dict[str, Any]
"""A row of a frame: column → value, None for null."""
Direction = Literal["lower", "higher"]
Kind = Literal["deterministic", "timed", "fact", "spread"]
"""`deterministic`: same cell, same number. `timed`: it varies. `fact`: how it was measured, a whole number.
`spread`: how sure another number is; neither compared nor gated."""
Group = Literal["Quality", "Tasks", "Memory", "Time", "Energy", "Facts"]
GROUPS: tuple[Group, ...] = ("Quality", "Tasks", "Memory", "Time", "Energy", "Facts")
"""In their order, of the chooser of columns and of the table of metrics."""
Medium = Literal["page", "terminal", "markdown"]

ENDS = {
    "_low": ", low end",
    "_high": ", high end",
    "_min": ", fastest",
    "_max": ", slowest",
    "_stderr": ", ± error",
}
"""Suffix of the columns that say how sure a number is → what their titles append to the number's."""
_UNITS = {"s", "j", "w", "c", "pct", "bytes"}
_WORDS = {"kv": "KV", "kl": "KL", "gpu": "GPU", "cv": "CV", "nll": "NLL", "flops": "FLOPS", "rms": "RMS",
          "dram": "DRAM", "top1": "top-1"}  # fmt: skip


class Place(IntEnum):
    """Section of the frame that a column stands in; within one, the order of declaration."""

    IDENTITY = 0
    FIRST = 1
    LEADING = 2
    BODY = 3
    DETAIL = 4
    RELATED = 5
    BASE = 6
    CONTEXT = 7
    CLOSING = 8


@dataclass(frozen=True)
class Gate:
    """The change from which on a number counts as worse, where no suite says otherwise."""

    threshold: float | None
    """A factor from 1 on, or a difference from 0 on; None: gated only where a suite says so."""
    by: Literal["factor", "difference"] = "factor"


@dataclass(frozen=True)
class Display:
    """Rank of a column among those that tables show by default; a lower rank stands further left."""

    page: int
    """In the leaderboard."""
    terminal: int | None = None
    """In `qbench show`, where columns of high rank go first for want of width; None: as on the page."""
    markdown: int | None = None
    """In Markdown; None: as on the page, 0: not by default."""
    head: str = ""
    """Shorter title over a column of a table; empty: the title."""
    narrow: str = ""
    """The shortest, for a terminal; empty: `head`."""
    digits: int | None = None
    """Significant digits in tables; None: those of the number."""
    spread: bool = False
    """True where its interval stands in a terminal too."""

    def rank(self, medium: Medium) -> int | None:
        """None where the column is not shown by default."""
        chosen = {"page": self.page, "terminal": self.terminal, "markdown": self.markdown}[medium]
        return self.page if chosen is None else chosen or None


@dataclass(frozen=True)
class Column:
    """A column of a frame; `unit` is empty for text, counts and ratios."""

    name: str
    unit: str
    description: str
    dtype: str
    title: str = ""
    """Empty: made of the name, see `heading`."""
    group: Group = "Facts"
    place: Place = Place.BODY
    kind: Kind | None = None
    """None for texts and for the ends of intervals."""
    direction: Direction | None = None
    digits: int = 3
    """Significant digits where no interval says how many are meant."""
    display: Display | None = None
    gate: Gate | None = None
    dimension: bool = False
    """Cells differ in it besides the method; its number is a name."""
    hidden: bool = False
    """Stands in the frame and in no table."""
    base: str = ""
    """Metric that a column relating a cell to its base is made of."""
    interval: str = ""
    """Kind of the 95 % interval, in words; empty where there is none."""
    conditions: tuple[str, ...] = ()
    """Columns whose value, where all cells share it, stands in this column's head."""
    of: str = ""
    """Column that an end of an interval or of a range belongs to, whose unit and digits it has."""
    low: str = ""
    high: str = ""
    """Columns of the interval's ends."""
    least: str = ""
    most: str = ""
    """Columns of the extremes, shown where there is no interval."""
    stderr: str = ""
    """Column of the standard error."""

    @property
    def number(self) -> bool:
        return self.dtype in ("float64", "Int64") and not self.dimension

    @property
    def shown_unit(self) -> str:
        """Empty for bits, whose title says them."""
        return "" if self.unit == "bit" else self.unit

    @property
    def table_digits(self) -> int:
        shown = self.display.digits if self.display else None
        return self.digits if shown is None else shown

    @property
    def per(self) -> str:
        """`token` of seconds or joules per token."""
        return "token" if "_per_token" in self.name and self.unit in ("s", "J") else ""

    @property
    def head(self) -> str:
        """Title over a column of a table."""
        return (self.display.head if self.display else "") or self.title

    @property
    def narrow_head(self) -> str:
        """Title where every character counts."""
        return (self.display.narrow if self.display else "") or self.head

    @property
    def arrow(self) -> str:
        """`↓` where lower is better, `↑` where higher is."""
        return {"lower": "↓", "higher": "↑"}.get(self.direction or "", "")

    @functools.cached_property
    def companions(self) -> tuple[str, ...]:
        """Columns that say how sure this one's numbers are."""
        return tuple(filter(None, (self.low, self.high, self.least, self.most, self.stderr)))

    @property
    def explanation(self) -> str:
        """The description without signs of code, with what a ± after the number means."""
        said = self.description.replace("`", "")
        if self.low or self.stderr:
            said += "; ± half the 95 % interval, its ends where it is lopsided"
            said += ", where there is none half the range" if self.least else ""
        return said


def heading(name: str) -> str:
    """`KV cache per token` of `kv_cache_bytes_per_token`: the unit stands in the head's second line."""
    parts = name.removesuffix("_per_s").split("_")
    title = " ".join(_WORDS.get(word, word) for word in parts if word not in _UNITS)
    return title[:1].upper() + title[1:]
