"""`Metric`: one number that can be read from a record, with everything that a table has to say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from qbench.results.store import lookup as samples
from qbench.results.store.record import Record

Kind = Literal["deterministic", "timed", "fact"]
Direction = Literal["lower", "higher"]


@dataclass(frozen=True)
class Gate:
    """From which change on the metric counts as worse, where no suite says otherwise."""

    threshold: float | None
    """A factor from 1 on, or a difference from 0 on; None: gated only where a suite says so."""
    by: Literal["factor", "difference"] = "factor"


@dataclass(frozen=True)
class Metric:
    """One number per record."""

    name: str
    unit: str
    """`B`, `s`, `J`, `W`, `%`, `bit`, `nat`, `tokens/s`; empty for a count or a ratio."""
    direction: Direction | None
    """Which way is better; None for a fact."""
    kind: Kind
    """`deterministic` (same cell, same number), `timed` (it varies), `fact` (says how it was measured)."""
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

    @property
    def dtype(self) -> str:
        """pandas dtype: whole bytes and counts are nullable integers."""
        return "Int64" if self.unit == "B" or self.kind == "fact" else "float64"

    def reason(self, record: Record) -> str:
        """Why the value is missing from this record."""
        known = self.why(record) if self.why and record.status == "ok" else None
        return known or samples.missing_reason(record, self.source, self.name)


def in_seconds(name: str, source: str, description: str, value: Callable[[Record], float | None]) -> Metric:
    return Metric(name, "s", "lower", "timed", source, 3, description, value)


def fact(
    name: str,
    source: str,
    description: str,
    value: Callable[[Record], float | None],
    why: Callable[[Record], str | None] | None = None,
) -> Metric:
    return Metric(name, "", None, "fact", source, 6, description, value, why)
