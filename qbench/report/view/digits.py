"""Numbers for people: as many digits as the interval supports, one unit for a whole column."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

MINUS = "−"
TOO_LONG = 1e5
"""From here on a number is written with a power of ten."""
_MOST_PLACES = 12
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


def has_steps(unit: str) -> bool:
    """True for a unit that is also written in thousands or thousandths."""
    return unit in _STEPS


def significant(value: float, digits: int) -> str:
    """`digits` significant digits without an exponent, up to a hundred thousand."""
    if value == 0:
        return "0"
    return fixed(value, digits - 1 - _magnitude(value))


NOTHING = 1e-9
"""A half-width under this share of the value is rounding."""
LOPSIDED = 1.5
"""The longer side of an interval over the shorter, from which one half-width would say something false."""


def with_interval(value: float, low: float, high: float, digits: int) -> tuple[str, str]:
    """The value and its spread as it is to be printed after it: `± 0.018`, or `(1.83 to 3.50)` where the
    interval is lopsided or half of it would reach across zero where its end does not.

    The spread is empty for an interval of no width but rounding's: then the value has `digits` significant
    digits.
    """
    decimals = decimals_for(value, low, high, digits)
    if decimals is None:
        return significant(value, digits), ""
    exponent = _magnitude(value) if abs(value) >= TOO_LONG else 0
    if _is_lopsided(value, low, high):
        first, last = (_scaled(end, decimals, exponent) for end in (low, high))
        return _scaled(value, decimals, exponent), f"({first} to {last})"
    return _scaled(value, decimals, exponent), f"± {_scaled((high - low) / 2, decimals, exponent)}"


def spread_text(value: float, low: float, high: float, digits: int) -> str:
    """Value and spread (see `with_interval`) in one text."""
    return " ".join(filter(None, with_interval(value, low, high, digits)))


def decimals_for(value: float, low: float, high: float, digits: int) -> int | None:
    """Digits after the point that the interval supports; None for one of no width but rounding's.

    The rule of the PDG for half the width; of a lopsided interval for its shorter side, but no more than
    `digits` significant ones of the value.
    """
    half = (high - low) / 2
    if not half > abs(value) * NOTHING:
        return None
    supported = _decimals(half)
    if not _is_lopsided(value, low, high):
        return supported
    shorter = min(value - low, high - value)
    usual = digits - 1 - _magnitude(value) if value else supported
    return max(supported, min(_decimals(shorter), usual) if shorter > 0 else usual)


def fixed(value: float, decimals: int) -> str:
    """`decimals` digits after the point; negative ones round before it."""
    if abs(value) >= TOO_LONG:
        exponent = _magnitude(value)
        return _scaled(value, 1 - exponent, exponent)
    return _scaled(value, decimals, 0)


def _is_lopsided(value: float, low: float, high: float) -> bool:
    below, above, half = value - low, high - value, (high - low) / 2
    crosses = (low >= 0 and half > value) or (high <= 0 and half > -value)
    return crosses or not min(below, above) * LOPSIDED >= max(below, above) * (1 - NOTHING)


def _decimals(half: float) -> int:
    """Two digits of a half-width that begins with 1 to 3.54, one of any other."""
    magnitude = _magnitude(half)
    return (1 if half / 10.0**magnitude < 3.55 else 0) - magnitude


def _scaled(value: float, decimals: int, exponent: int) -> str:
    """Rounded to `decimals` of the value, and written as so many times a power of ten, but for ten to 0."""
    if exponent == 0 and abs(value) >= TOO_LONG:
        return fixed(value, decimals)
    places = min(max(0, decimals + exponent), _MOST_PLACES)
    rounded = round(value / 10.0**exponent, min(decimals + exponent, _MOST_PLACES)) + 0.0  # no minus zero
    power = f"×10{str(exponent).translate(_SUPERSCRIPT)}" if exponent else ""
    return f"{rounded:.{places}f}{power}".replace("-", MINUS)


def _magnitude(value: float) -> int:
    """Power of ten of the first digit."""
    return math.floor(math.log10(abs(value)))
