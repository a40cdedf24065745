"""The bootstrap against a plain loop, against closed forms, and by its coverage in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from qbench.results.stats.bootstrap import (
    DRAWS,
    SEED,
    Kind,
    block_length,
    intervals,
    student_quantile,
    widening,
)

TOKENS = 511.0


def alone(sums: NDArray[np.float64], tokens: NDArray[np.float64], kind: Kind) -> tuple[float, ...]:
    """Estimate, low and high of one cell."""
    return tuple(float(end[0]) for end in intervals(sums[None], tokens, kind))


def test_equals_a_plain_loop_over_draws() -> None:
    chance = np.random.default_rng(1)
    nll, tokens = chance.normal(2000, 90, 12), chance.integers(300, 600, 12).astype(float)
    length = block_length(12, "own")
    assert length == 3
    drawn = []
    for starts in np.random.default_rng([SEED, 12]).integers(12, size=(DRAWS, 4)):
        numerator = denominator = 0.0
        for start in starts:
            for step in range(length):
                numerator += nll[(start + step) % 12]
                denominator += tokens[(start + step) % 12]
        drawn.append(numerator / denominator)
    estimate = sum(nll) / sum(tokens)
    low, high = np.percentile(drawn, [2.5, 97.5])
    factor = widening(12, "own")
    expected = (estimate, estimate + factor * (low - estimate), estimate + factor * (high - estimate))
    assert alone(nll, tokens, "own") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (5, 2.57058), (10, 2.22814), (30, 2.04227), (100, 1.98397)],
)
def test_student_quantile_against_the_printed_table(freedom: int, expected: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(expected, rel=3e-6)


@pytest.mark.parametrize("probability", [0.6, 0.9, 0.975, 0.9995])
def test_student_quantile_against_the_closed_forms_of_one_and_two_degrees(probability: float) -> None:
    odd = 2 * probability - 1
    assert student_quantile(probability, 1) == pytest.approx(math.tan(math.pi * odd / 2), rel=1e-9)
    two = odd * math.sqrt(2 / (4 * probability * (1 - probability)))
    assert student_quantile(probability, 2) == pytest.approx(two, rel=1e-9)


@pytest.mark.parametrize("freedom", [1.3, 1.5, 1.92, 2.5, 7.25])
def test_student_quantile_of_broken_degrees_against_the_area_under_the_density(freedom: float) -> None:
    """Simpson's rule from 0 to the quantile has to give what is above one half."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    x = np.linspace(0, student_quantile(0.975, freedom), 20_001)
    density = scale * (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
    area = (
        (x[1] - x[0]) / 3 * (density[0] + density[-1] + 4 * density[1::2].sum() + 2 * density[2:-1:2].sum())
    )
    assert area == pytest.approx(0.475, abs=1e-9)


def test_many_windows_need_no_widening() -> None:
    assert widening(100_000, "difference") == pytest.approx(1.0, abs=2e-3)
    assert widening(6, "own") > widening(24, "own") > widening(64, "own") > 1


def test_pairing_sees_what_two_separate_intervals_cannot() -> None:
    chance = np.random.default_rng(3)
    base = chance.normal(2000, 100, 32)
    cell = base + TOKENS * math.log(1.01) + chance.normal(0, 1, 32)
    tokens = np.full(32, TOKENS)
    value, low, high = alone(cell - base, tokens, "difference")
    assert 0.0 < low < value < high < math.log(1.02)
    assert alone(cell, tokens, "own")[1] < alone(base, tokens, "own")[2]


def test_a_constant_ratio_is_exact_and_a_base_is_one_times_itself() -> None:
    base, tokens = np.linspace(1900, 2100, 16), np.full(16, TOKENS)
    moved = base + TOKENS * math.log(1.25)
    assert np.exp(alone(moved - base, tokens, "difference")) == pytest.approx([1.25] * 3, rel=1e-12)
    assert alone(base - base, tokens, "difference") == (0.0, 0.0, 0.0)


def test_same_data_same_interval_whatever_stands_beside_it() -> None:
    chance = np.random.default_rng(4)
    nll, tokens = chance.normal(2000, 90, (1200, 10)), np.full(10, TOKENS)
    together = intervals(nll, tokens, "own")
    assert [end[777] for end in together] == pytest.approx(alone(nll[777], tokens, "own"), rel=1e-12)


def test_one_window_gives_an_estimate_without_an_interval() -> None:
    value, low, high = alone(np.array([1000.0]), np.array([500.0]), "own")
    assert value == 2.0
    assert math.isnan(low)
    assert math.isnan(high)
