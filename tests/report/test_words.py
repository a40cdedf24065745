"""Digits, fronts and sentences: what the page says, against hand calculations and brute force."""

from __future__ import annotations

import dataclasses
import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import get_args

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from qbench.measure.meter import Reason
from qbench.report.answers import answer
from qbench.report.cells import cut
from qbench.report.context import plain_rows
from qbench.report.digits import scale_for, significant, with_interval
from qbench.report.markdown_text import escaped
from qbench.report.pareto import front
from qbench.report.reasons import in_words
from qbench.results.frame import from_records
from qbench.results.record import Record
from tests.results import factory

BASE = factory.LOSSES


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


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_front_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    def dominated(point: tuple[float, float]) -> bool:
        return any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points)

    chosen = [points[index] for index in front(points)]
    assert set(chosen) == {point for point in points if not dominated(point)}
    assert chosen == sorted(set(chosen))


def cell(label: str, bits: float, loss: float, noise: float = 0.0) -> Record:
    nll = [nats + 511 * math.log(loss) + noise * (-1) ** (place // 2) for place, nats in enumerate(BASE)]
    samples = factory.samples(perplexity=factory.perplexity(nll), memory=factory.memory(5_800_000))
    return factory.record(
        "absmax", cell=factory.cell("absmax", label=label, params={"label": label}),
        layers=[factory.layer(bits)], samples=samples,
    )  # fmt: skip


def say(*records: Record) -> str:
    return answer(plain_rows(from_records(records))).replace("\u00a0", " ")


def test_the_least_loss_under_the_tightest_budget() -> None:
    said = say(
        factory.record(),
        cell("absmax 8", 8.25, 1.001),
        cell("absmax 4", 4.25, 1.05),
        cell("absmax 3", 3.25, 1.4),
    )
    assert said == (
        "At ≤ 4.5 bits per weight, absmax 4 loses least: perplexity 1.050 × base, 0.50 × weight memory, "
        "1.0 × decode speed."
    )


def test_a_speedup_by_shared_laps_is_said_with_its_interval() -> None:
    records = []
    for one, steps in (
        (factory.record(), [4.0] * 6),
        (cell("absmax 4", 4.25, 1.05), [1.9, 1.95, 2.0, 2.0, 2.05, 2.1]),
    ):
        latency = factory.latency([0.01] * 6, [[seconds] for seconds in steps])
        latency["runs"][0].update({"lap": list(range(6)), "since": "2026-11-21T10:56:00.250+00:00"})
        records.append(dataclasses.replace(one, samples={**one.samples, "latency": latency}))
    assert "2.00 ± 0.10 × decode speed" in say(*records)


def test_a_tie_is_named_as_a_tie() -> None:
    said = say(factory.record(), cell("absmax a", 4.25, 1.050, 20.0), cell("absmax b", 4.25, 1.051, 20.0))
    assert "absmax a ties for the least loss" in said
    assert said.endswith("Tied with absmax b.")


def test_one_window_claims_no_winner() -> None:
    records = []
    for one, nats in (
        (factory.record(), 2000.0),
        (cell("absmax a", 4.25, 1.0), 2010.0),
        (cell("absmax b", 4.25, 1.0), 2100.0),
    ):
        changed = {**one.samples, "perplexity": factory.perplexity([nats])}
        records.append(dataclasses.replace(one, samples=changed))
    said = say(*records)
    assert "absmax a measured lowest: perplexity 1.020 × base" in said
    assert said.endswith("There is no interval to judge by: one window says nothing of the spread.")


def test_repetitions_of_a_cell_are_no_rivals_of_it() -> None:
    twice = [cell("absmax a", 4.25, 1.05, 20.0), cell("absmax a", 4.25, 1.051, 20.0)]
    twice[1] = dataclasses.replace(twice[1], cell=dataclasses.replace(twice[1].cell, repetition=1))
    assert "absmax a is the one measured: perplexity" in say(factory.record(), *twice)
    worse = cell("absmax b", 4.25, 1.4, 20.0)
    assert "absmax a loses least: perplexity" in say(factory.record(), *twice, worse)


def test_who_has_no_interval_is_named_with_the_reason() -> None:
    rows = plain_rows(
        from_records([factory.record(), cell("absmax a", 4.25, 1.05), cell("absmax b", 4.25, 1.1)])
    )
    lacking = next(row for row in rows if row["label"] == "absmax b")
    lacking |= {"perplexity_ratio_low": None, "perplexity_ratio_high": None}
    lacking["missing"] = {**lacking["missing"], "perplexity_ratio_low": "too large for a number"}
    assert answer(rows).endswith("absmax b has no interval to judge by: too large for a number.")


def test_a_long_label_or_reason_is_cut_and_still_told_from_another() -> None:
    long = "gptq " + 1_000_000 * "x"
    said = say(factory.record(), cell(f"{long}a", 4.25, 1.05), cell(f"{long}b", 4.25, 1.4))
    assert said.count("absmax") == 1
    assert "loses least" in said
    assert "(1000006 characters)" in said
    assert len(said) < 500
    failed = factory.failed()
    failed = dataclasses.replace(failed, error={**(failed.error or {}), "message": 1_000_000 * "y"})
    assert len(say(failed)) < 1000
    assert "the one cell did not finish" in say(failed)


def test_without_a_base_perplexity_stands_alone() -> None:
    assert "there is no base to relate it to" in say(cell("absmax 4", 4.25, 1.05))


def test_without_quality_the_answer_says_so() -> None:
    record = factory.record("absmax", samples={})
    assert (
        say(record)
        == "At ≤ 8.5 bits per weight, absmax stores least, 8.25 bits per weight; quality was not measured."
    )


def test_only_the_base() -> None:
    assert say(factory.record()).startswith(
        "Only the unquantized model finished: perplexity 50.6 ± 2.6, 11.6 MB"
    )


def test_all_failed_gives_the_first_reason() -> None:
    assert say(factory.failed(), factory.failed("awq", "oom", "x")) == (
        "No number yet: none of the 2 cells finished. First reason: gptq, failed: ValueError: group_size 7"
    )


@pytest.mark.parametrize("code", get_args(Reason))
def test_every_code_of_a_probe_has_words(code: str) -> None:
    for device in ("cpu", "cuda:0"):
        assert " " in in_words(code, device)
    assert in_words("no ok `none` cell", "cpu") == "no ok none cell"


def test_a_cut_takes_more_than_its_mark_needs() -> None:
    for longest, text in ((240, 252 * "x"), (240, 270 * "x"), (600, 612 * "y")):
        assert cut(text, longest) == text
        assert escaped(text, longest) == text
    for text in (cut(271 * "x", 240), escaped(271 * "x", 240)):
        assert text == 240 * "x" + " … (271 characters)"
