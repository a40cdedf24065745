"""One number of the leaderboard as text: in its column's unit, with the digits that its interval supports."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from qbench.report.view.digits import Scale, decimals_for, fixed, scale_for, significant, with_interval
from qbench.results.columns.column import Column, Row
from qbench.results.table.columns import columns

LONGEST = 240
"""Characters of a text out of a record that a page shows."""
LONGEST_REASON = 600
"""Characters of a failure's reason, whose point often stands at the end."""
_NOTE = 30
"""Characters that the mark of a cut may take: no fewer are cut."""
_Z = 1.959964
"""Half the 95 % interval in standard errors."""

_CPU = {
    "no_driver": "this machine or its kernel has no RAPL counter",
    "not_supported": "the RAPL counter cannot be read or stands still",
    "no_permission": "only root may read the RAPL counter",
}
_ANY = {
    "no_driver": "no NVIDIA driver or library",
    "not_supported": "the GPU has neither an energy counter nor instant power, or its counter stands still",
    "no_permission": "this user may not read the GPU's energy counter",
    "mig": "the energy counter knows only the whole GPU, and MIG is on",
    "window_too_long": "a step of the work outlasts a wrap of the energy counter",
    "window_too_short": "the window is too short for the energy counter; raise energy.min_window_s",
}
"""Codes of `qbench.probes.energy.measure.meter.Reason` → words."""


@dataclass(frozen=True)
class Field:
    """A column of a table, in the unit that suits the table's rows."""

    column: Column
    scale: Scale

    def text(self, row: Row) -> tuple[str, str]:
        """The value, and the spread to print after it (see `with_interval`); `–` for null."""
        value = row[self.column.name]
        if value is None:
            return "–", ""
        return number_text(row, self.column, self.scale) if self.column.number else (str(value), "")

    def line(self, row: Row) -> str:
        """Value and spread in one text."""
        return " ".join(filter(None, self.text(row)))


def scale_of(column: Column, rows: Iterable[Row]) -> Scale:
    """One unit for the whole column; the end of an interval has that of its number."""
    name = column.of or column.name
    scale = scale_for([row[name] for row in rows if row[name] is not None], column.shown_unit)
    return scale.per(column.per) if column.per else scale


def number_text(row: Row, column: Column, scale: Scale) -> tuple[str, str]:
    """Value and spread (see `with_interval`) of a number that is there; the spread may be empty."""
    factor = scale.factor
    value = row[column.name] / factor
    decimals = _decimals_of_its_number(row, column, factor)
    if decimals is not None:
        return fixed(value, decimals), ""
    low, high = ends(row, column)
    if low is None or high is None:
        if isinstance(row[column.name], int) and factor == 1.0:
            return str(row[column.name]), ""  # a count has all its digits
        return significant(value, column.table_digits), ""
    return with_interval(value, low / factor, high / factor, column.table_digits)


def _decimals_of_its_number(row: Row, column: Column, factor: float) -> int | None:
    """Decimals of an end of an interval or a range: those that its number is shown with."""
    if not column.of or column.name.endswith("_stderr") or row[column.of] is None:
        return None
    number = columns()[column.of]
    low, high = ends(row, number)
    if low is None or high is None:
        return None
    return decimals_for(row[column.of] / factor, low / factor, high / factor, number.table_digits)


def reason_of(row: Row, name: str) -> str:
    missing = row["missing"].get(name)
    said = in_words(missing, row["device"]) if missing else row["reason"]
    return cut(said or "not recorded", LONGEST_REASON)


def ends(row: Row, column: Column) -> tuple[float | None, float | None]:
    """Ends of the interval; where there is none, the extremes."""
    if has_interval(row, column):
        return interval(row, column)
    return (row[column.least], row[column.most]) if column.least else (None, None)


def interval(row: Row, column: Column) -> tuple[float | None, float | None]:
    """Ends of the 95 % interval; None where there is none."""
    if column.low:
        return row[column.low], row[column.high]
    error = row[column.stderr] if column.stderr else None
    return (None, None) if error is None else (row[column.name] - _Z * error, row[column.name] + _Z * error)


def has_interval(row: Row, column: Column) -> bool:
    return None not in interval(row, column)


def parameters(params: str) -> list[str]:
    """`num_bits 4`, `group_size 64`, …; parameters that are null are left out."""
    return [
        f"{cut(name)} {cut(value if isinstance(value, str) else json.dumps(value))}"
        for name, value in json.loads(params).items()
        if value is not None
    ]


def cut(text: str, longest: int = LONGEST) -> str:
    """A long text cut, and marked as cut."""
    return text if len(text) <= longest + _NOTE else f"{text[:longest]} … ({len(text)} characters)"


def in_words(reason: str, device: str | None) -> str:
    """A code's meaning on that device; any other text as it is, without the signs of code."""
    words = _CPU.get(reason) if device == "cpu" else None
    return words or _ANY.get(reason) or reason.replace("`", "")
