"""`Metric`: the one declaration of a number that can be read from a record.

Frame, pages, terminal, Markdown, comparison, history, gate and docs/columns.md are made of it. A metric of
somebody else's package enters the table through the entry point `qbench.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from qbench.results.columns.column import Column, Direction, Display, Gate, Group, Kind, Place, heading
from qbench.results.columns.paired_blocks import Blocks
from qbench.results.store import lookup as samples
from qbench.results.store.record import Record

if TYPE_CHECKING:
    from qbench.results.stats.bootstrap import Kind as Correlation

__all__ = [
    "ByWindow",
    "Direction",
    "Display",
    "Gate",
    "Kind",
    "Metric",
    "Text",
    "VersusBase",
    "fact",
    "in_seconds",
]

_OVER_WINDOWS = "95 % interval, bootstrap over windows"
_OF_BLOCKS = "95 % interval, paired by blocks of rounds"


@dataclass(frozen=True)
class ByWindow:
    """A mean over windows of text: what its interval and pairs of two cells are drawn from."""

    sums: Callable[[Record], Sequence[float] | None]
    """Sums by window; None where the metric has no value."""
    tokens: Callable[[Record], Sequence[float]]
    """Scored tokens by window: the weights of the windows."""
    scored_on: Callable[[Record], tuple[Hashable, ...]]
    """Text and protocol; two cells are paired where it and the tokens are equal."""
    correlation: Correlation = "own"
    """Correlation of the sums from one window to the next, see `bootstrap.py`."""
    paired_correlation: Correlation = "difference"
    """Correlation of the differences of two cells."""
    exponential: bool = False
    """True for the exponential of the mean: two cells are then related by their ratio."""
    units: Callable[[Record], float | None] | None = None
    """Number that the sums are divided by, where it is not that of tokens."""
    per_bit: bool = False
    """True for a mean in bits of sums in nat."""
    interval: bool = True
    """True where the frame holds the interval; else it is drawn in comparisons alone."""

    def __post_init__(self) -> None:
        if self.interval and (self.units or self.per_bit):
            raise ValueError("the frame holds intervals of means over tokens, in the unit of the sums")


@dataclass(frozen=True)
class VersusBase:
    """A column that relates a metric to that of the base, the unquantized cell."""

    by: Literal["ratio", "difference", "speedup"] = "ratio"
    """`ratio`: cell over base; `difference`: cell less base; `speedup`: base over cell, paired by block."""
    name: str = ""
    """Empty: `<metric>_<by>`."""
    description: str = ""
    """Empty: made of the metric's name."""
    title: str = ""
    digits: int = 3
    display: Display | None = None
    gate: Gate | None = None
    place: Place = Place.RELATED
    blocks: Callable[[Record], Blocks] | None = None
    """Single repetitions by block, of a speedup; None: the quotient of two numbers, without interval."""


@dataclass(frozen=True)
class Metric:
    """One number per record."""

    name: str
    unit: str
    """`B`, `s`, `J`, `W`, `%`, `bit`, `nat`, `tokens/s`; empty for a count or a ratio."""
    direction: Direction | None
    """Better direction; None for a fact."""
    kind: Kind
    source: str
    """The probe it is read from, or `phases`, `layers`, `model`."""
    digits: int
    """Significant digits where no interval says how many are meant."""
    description: str
    value: Callable[[Record], float | None]
    why: Callable[[Record], str | None] | None = None
    """Given: why an ok record has no value, where this metric knows better than its source."""
    gate: Gate | None = None
    """None: no suite can gate it."""
    group: Group = "Facts"
    title: str = ""
    """Empty: made of the name."""
    display: Display | None = None
    """None: no table shows it unless it is asked for."""
    place: Place = Place.BODY
    by_window: ByWindow | None = None
    """Given: columns `<name>_low` and `<name>_high` hold its interval."""
    repetitions: Callable[[Record], Sequence[float]] | None = None
    """Single repetitions that the value is the median of."""
    versus: VersusBase | None = None
    """Given: another column relates it to the base."""
    interval: str = ""
    """Kind of the interval in `<name>_low` and `<name>_high`, where those are metrics of their own."""
    conditions: tuple[str, ...] = ()
    """Columns whose value, where all cells share it, stands in this column's head."""
    compared: int = 0
    """Rank among the timed numbers that a comparison shows; 0: none."""
    once_a_load: bool = False
    """True where a process gives one such number: no rounds can judge it, a suite's threshold alone does."""
    chosen: bool = False
    """True where the method's parameters settle it, so that no method is the best in it."""

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("direction", self.direction, (*get_args(Direction), None)),
            ("kind", self.kind, get_args(Kind)),
            ("group", self.group, get_args(Group)),
        ):
            if value not in choices:
                known = ", ".join(map(str, choices))
                raise ValueError(f"metric {self.name!r}: {name} = {value!r}; choose from {known}")
        for name, part, wanted in (("display", self.display, Display), ("gate", self.gate, Gate)):
            if part is not None and not isinstance(part, wanted):
                raise ValueError(
                    f"metric {self.name!r}: {name} = {part!r}; write {wanted.__name__}({part!r})"
                )
        if not self.name.isidentifier() or self.digits < 1:
            raise ValueError(
                f"metric {self.name!r}, digits {self.digits}: a name of letters, digits and _, and 1 or more"
            )

    @property
    def dtype(self) -> str:
        """pandas dtype: whole bytes and counts are nullable integers."""
        return "Int64" if self.unit == "B" or self.kind == "fact" else "float64"

    def reason(self, record: Record) -> str:
        """Reason that the value is missing from this record."""
        known = self.why(record) if self.why and record.status == "ok" else None
        return known or samples.missing_reason(record, self.source, self.name)

    @property
    def relation(self) -> str:
        """Name of the column that relates it to the base; empty where there is none."""
        return (self.versus.name or f"{self.name}_{self.versus.by}") if self.versus else ""

    def columns(self) -> list[Column]:
        """Its columns of the frame: itself, its interval, and what relates it to the base."""
        interval = self.interval or (_OVER_WINDOWS if self._has_interval else "")
        own = Column(
            self.name, self.unit, self.description, self.dtype, self.title or heading(self.name),
            "Facts" if self.kind == "fact" else self.group, self.place, self.kind, self.direction,
            self.digits, self.display, self.gate, interval=interval, conditions=self.conditions,
        )  # fmt: skip
        ends = _ends(own, f"{_OVER_WINDOWS}; null for one window") if self._has_interval else []
        return [own, *ends, *(self._related(self.versus) if self.versus else [])]

    @property
    def _has_interval(self) -> bool:
        return self.by_window is not None and self.by_window.interval

    @property
    def paired_by_window(self) -> bool:
        """True where it is related to the base window by window, and so has an interval."""
        if self.by_window is None or self.versus is None or not self.by_window.interval:
            return False
        return self.versus.by == ("ratio" if self.by_window.exponential else "difference")

    def _related(self, versus: VersusBase) -> list[Column]:
        made, direction = {
            "ratio": (f"{self.name} over that of the base", self.direction),
            "difference": (f"{self.name} less that of the base", self.direction),
            "speedup": (f"{self.name} of the base over this cell's; above one is faster", "higher"),
        }[versus.by]  # fmt: skip
        unit = self.unit if versus.by == "difference" else ""
        interval = _OF_BLOCKS if versus.blocks else f"{_OVER_WINDOWS}, paired with the base"
        has_interval = versus.blocks is not None or self.paired_by_window
        related = Column(
            self.relation, unit, versus.description or made, "float64",
            versus.title or heading(self.relation), self.group, versus.place, self.kind,
            direction, versus.digits, versus.display, versus.gate, base=self.name,
            interval=interval if has_interval else "", conditions=self.conditions,
        )  # fmt: skip
        few = "from order statistics of the ratios; null for fewer than six shared blocks"
        of_ends = f"{interval}, {few}" if versus.blocks else interval
        return [related, *(_ends(related, of_ends) if has_interval else [])]


@dataclass(frozen=True)
class Text:
    """A text that can be read from a record."""

    name: str
    description: str
    value: Callable[[Record], str | None]
    dtype: Literal["string", "category"] = "string"
    group: Group = "Facts"
    place: Place = Place.CONTEXT
    dimension: bool = False
    hidden: bool = False

    def column(self) -> Column:
        return Column(
            self.name, "", self.description, self.dtype, heading(self.name), self.group, self.place,
            dimension=self.dimension, hidden=self.hidden,
        )  # fmt: skip


def _ends(column: Column, interval: str) -> list[Column]:
    """The columns of both ends of a column's interval."""
    what = {"_low": f"lower end of its {interval}", "_high": "upper end of the same"}
    return [
        Column(
            f"{column.name}{end}", column.unit, said, "float64", group=column.group, place=column.place,
            conditions=column.conditions,
        )
        for end, said in what.items()
    ]  # fmt: skip


def in_seconds(
    name: str,
    source: str,
    description: str,
    value: Callable[[Record], float | None],
    *,
    group: Group = "Time",
    gate: Gate | None = None,
) -> Metric:
    """A time, of which less is better."""
    return Metric(name, "s", "lower", "timed", source, 3, description, value, gate=gate, group=group)


def fact(
    name: str,
    source: str,
    description: str,
    value: Callable[[Record], float | None],
    why: Callable[[Record], str | None] | None = None,
    *,
    group: Group = "Facts",
    conditions: tuple[str, ...] = (),
) -> Metric:
    """A whole number that says how something was measured; `group` places it in the frame."""
    return Metric(
        name, "", None, "fact", source, 6, description, value, why, group=group, conditions=conditions
    )
