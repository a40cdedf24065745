"""Digits: what is printed of a value and its interval, against hand calculations and what a reader reads."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from qbench.report.view.digits import scale_for, significant, with_interval


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 3, "0"),
        (11.6, 3, "11.6"),
        (1234.5, 3, "1230"),
        (0.012345, 3, "0.0123"),
        (-2.5, 2, "−2.5"),
        (3.2e7, 3, "3.2×10⁷"),
    ],
)
def test_significant_digits(value: float, digits: int, text: str) -> None:
    assert significant(value, digits) == text


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (1.05, 1e-16, ("1.050", "")),
        (1.02137, 0.0042, ("1.021", "± 0.004")),
        (1.02137, 0.0012, ("1.0214", "± 0.0012")),
        (50.586, 1.92, ("50.6", "± 1.9")),
        (50.586, 9.6, ("51", "± 10")),
        (1234.0, 160.0, ("1230", "± 160")),
        (1.0, 0.0, ("1.000", "")),
        (-0.001, 0.14, ("0.00", "± 0.14")),
        (123_456.0, 3000.0, ("1.235×10⁵", "± 0.030×10⁵")),
    ],
)
def test_as_many_digits_as_the_interval_supports(value: float, half: float, text: tuple[str, str]) -> None:
    assert with_interval(value, value - half, value + half, 4) == text


@pytest.mark.parametrize(
    ("value", "low", "high", "digits", "text"),
    [
        (1.957, 1.831, 3.502, 3, ("1.96", "(1.83 to 3.50)")),
        (2.63, 2.58, 19.1, 3, ("2.63", "(2.58 to 19.10)")),
        (1.55, 0.34, 2.26, 2, ("1.6", "(0.3 to 2.3)")),
        (2.0, 2.0, 3.1, 3, ("2.00", "(2.00 to 3.10)")),  # the fastest is the median
        (0.5, 0.0, 1.26, 2, ("0.5", "(0.0 to 1.3)")),
        (0.0, 0.0, 0.4, 3, ("0.00", "(0.00 to 0.40)")),
        (40_000.0, 30_000.0, 250_000.0, 3, ("40000", "(30000 to 2.5×10⁵)")),
        (400_000.0, 99_000.0, 500_000.0, 3, ("4.0×10⁵", "(1.0×10⁵ to 5.0×10⁵)")),
    ],
)
def test_a_lopsided_interval_is_said_by_its_ends(
    value: float, low: float, high: float, digits: int, text: tuple[str, str]
) -> None:
    assert with_interval(value, low, high, digits) == text


def read(text: str) -> tuple[Fraction, Fraction]:
    """What a reader takes a number for, and half a unit of its last digit."""
    mantissa, _, power = text.replace("−", "-").partition("×10")
    exponent = Decimal(mantissa).as_tuple().exponent
    scale = Fraction(10) ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)
    unit = Fraction(10) ** int(exponent)
    if "." not in mantissa:  # zeros before the point may be rounding's
        unit *= 10 ** (len(mantissa) - len(mantissa.rstrip("0")) if mantissa.strip("-0") else 6)
    return Fraction(mantissa) * scale, unit * scale * Fraction("0.500001")


@given(st.floats(-9e6, 9e6), st.floats(0, 3), st.floats(0, 3), st.integers(2, 5))
@example(-0.001, 140.0, 140.0, 3)
@example(1.0, 1.0, 1.5, 3)
def test_what_is_printed_is_true(value: float, below: float, above: float, digits: int) -> None:
    """The ends of an interval as a reader gets them from the text, against those that went in."""
    assume(value == 0 or abs(value) > 1e-5)
    low, high = value - below * abs(value), value + above * abs(value)
    text, spread = with_interval(value, low, high, digits)
    shown, unit = read(text)
    assert abs(shown - Fraction(value)) <= unit
    assert not re.search(r"−0(\.0*)?(?![\d.])", f"{text} {spread}")
    if not spread:
        assert high - low <= 1e-8 * abs(value)
    elif spread.startswith("± "):
        half, half_unit = read(spread[2:])
        assert Fraction(1, 2) <= half / Fraction((high - low) / 2) <= 2  # one digit of 3.55 or more
        for end, told in ((low, shown - half), (high, shown + half)):  # at most 1.5 times as long one way
            assert abs(told - Fraction(end)) <= Fraction(high - low) / 10 + unit + half_unit
        assert not (low >= 0 and shown < half)
        assert not (high <= 0 and -shown < half)
    else:
        ends = [read(one) for one in spread.strip("()").split(" to ")]
        for end, (told, off) in zip((low, high), ends, strict=True):
            assert abs(told - Fraction(end)) <= off
        assert ends[0][0] <= shown <= ends[1][0]
        assert not (low >= 0 and ends[0][0] < 0)


@given(st.floats(1e-6, 9e4), st.floats(1e-4, 0.5))
def test_rounding_never_moves_a_value_out_of_its_interval(value: float, relative: float) -> None:
    half = value * relative
    text, spread = with_interval(value, value - half, value + half, 4)
    assert abs(float(text) - value) <= half
    assert float(spread.removeprefix("± ")) == pytest.approx(half, rel=0.2)


def test_one_unit_for_a_column() -> None:
    assert scale_for([0.004, 0.005, 2.0], "s").unit == "ms"
    assert scale_for([11_600_000, 5_000_000], "B").unit == "MB"
    assert scale_for([], "s").unit == "µs"
    assert scale_for([40.0], "").unit == ""
