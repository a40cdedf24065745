"""Numbers for people: as many digits as the interval supports, one unit for a whole column."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

MINUS = "−"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_STEPS = {
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "J": ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ")),
}


@dataclass(frozen=True)
class Scale:
    """A unit to print in: the printed number is the value over `factor`."""

    factor: float = 1.0
    unit: str = ""

    def per(self, thing: str) -> Scale:
        return Scale(self.factor, f"{self.unit}/{thing}" if self.unit else "")


def scale_for(values: Iterable[float], unit: str) -> Scale:
    """The largest decimal step of `unit` at which the median value is at least one."""
    ordered = sorted(abs(value) for value in values)
    steps = _STEPS.get(unit)
    if steps is None:
        return Scale(1.0, unit)
    middle = ordered[len(ordered) // 2] if ordered else 0.0
    factor, name = next((step for step in steps if middle >= step[0]), steps[-1])
    return Scale(factor, name)


def significant(value: float, digits: int) -> str:
    """`digits` significant digits without an exponent, up to a hundred thousand."""
    if value == 0:
        return "0"
    return _fixed(value, digits - 1 - _magnitude(value))


NOTHING = 1e-9
"""A half-width under this share of the value is rounding."""


def with_interval(value: float, low: float, high: float, digits: int) -> tuple[str, str]:
    """Value and half-width, rounded where the half-width has one or two digits (the rule of the PDG).

    The half-width is empty for an interval of no width but rounding's: then the value has `digits`
    significant digits.
    """
    half = (high - low) / 2
    if not half > abs(value) * NOTHING:
        return significant(value, digits), ""
    magnitude = _magnitude(half)
    leading = half / 10.0**magnitude
    decimals = (1 if leading < 3.55 else 0) - magnitude
    return _fixed(value, decimals), _fixed(half, decimals)


def _fixed(value: float, decimals: int) -> str:
    """`decimals` digits after the point; negative ones round before it."""
    if abs(value) >= 1e5:
        exponent = _magnitude(value)
        return f"{value / 10.0**exponent:.1f}×10{str(exponent).translate(_SUPERSCRIPT)}".replace("-", MINUS)
    rounded = round(value, decimals)
    return f"{rounded:.{max(0, min(decimals, 12))}f}".replace("-", MINUS)


def _magnitude(value: float) -> int:
    """Power of ten of the first digit."""
    return math.floor(math.log10(abs(value)))
