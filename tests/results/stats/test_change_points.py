"""Change points against brute force, and on synthetic series with a known truth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbench.results.stats.change_points import (
    LIMIT,
    change_points,
    exact_steps,
    lattice,
    noise,
    penalty,
    segment,
)

RUNS = 60
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
NOISES: dict[str, Draw] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "Student's t, 3 degrees": lambda rng, n: rng.standard_t(3, n),
    "Student's t, 2 degrees": lambda rng, n: rng.standard_t(2, n),
    "bursts": lambda rng, n: rng.standard_normal(n) + (rng.random(n) < 0.05) * rng.exponential(8, n),
    "exponential": lambda rng, n: rng.exponential(size=n),
}


def latencies(z: NDArray[np.float64]) -> list[float]:
    """Noise as times about 4 ms, 1 % each."""
    return [0.004 * math.exp(0.01 * float(value)) for value in z]


def cost(z: NDArray[np.float64], starts: Sequence[int], beta: float, levels: NDArray[np.float64]) -> float:
    edges = [0, *starts, len(z)]
    total = beta * len(starts)
    for start, end in itertools.pairwise(edges):
        losses = np.minimum((z[start:end, None] - levels[None]) ** 2, LIMIT**2)
        total += float(losses.sum(axis=0).min())
    return total


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-8, 8, allow_nan=False), min_size=2, max_size=9),
    st.floats(0.5, 20),
)
def test_no_segmentation_of_a_short_series_is_cheaper(values: list[float], beta: float) -> None:
    z = np.asarray(values)
    levels = lattice(z)
    every = (starts for count in range(len(z)) for starts in itertools.combinations(range(1, len(z)), count))
    best = min(cost(z, starts, beta, levels) for starts in every)
    assert cost(z, segment(z, beta), beta, levels) == pytest.approx(best, abs=1e-9)


def test_the_lattice_costs_next_to_nothing() -> None:
    """One segment's best level on it, beside a fine search over the reals."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        z = rng.standard_t(3, 40)
        fine = np.linspace(-4, 4, 20_001)
        least = np.minimum((z[:, None] - fine) ** 2, LIMIT**2).sum(axis=0).min()
        found = np.minimum((z[:, None] - lattice(z)) ** 2, LIMIT**2).sum(axis=0).min()
        assert 0 <= found - least <= len(z) / 400


@pytest.mark.parametrize("kind", NOISES)
def test_at_most_one_series_in_twenty_without_a_change_shows_one(kind: str) -> None:
    rng = np.random.default_rng(11)
    found = sum(bool(change_points(latencies(NOISES[kind](rng, RUNS)))) for _ in range(200))
    assert found <= 10  # the rate is at most 0.03, where more than 10 of 200 come in one seed of 70


def test_a_shift_of_two_sigma_is_found_within_two_nights() -> None:
    rng = np.random.default_rng(12)
    hits = alone = 0
    for _ in range(400):
        z, place = rng.standard_normal(RUNS), int(rng.integers(10, RUNS - 9))
        z[place:] += 2
        found = change_points(latencies(z))
        hits += any(abs(one - place) <= 2 for one in found)
        alone += len(found) == 1
    assert hits >= 360
    assert alone >= 380


@pytest.mark.parametrize("size", [4.0, 40.0, 4000.0])
@pytest.mark.parametrize("place", [0, 1, 30, RUNS - 1])
def test_a_single_outlier_is_no_change_however_far(place: int, size: float) -> None:
    rng = np.random.default_rng(13)
    for _ in range(20):
        z = rng.uniform(-1, 1, RUNS)
        z[place] = size
        assert segment(z, penalty(RUNS)) == []


def test_a_jump_is_reported_on_its_second_night() -> None:
    z = np.random.default_rng(14).standard_normal(RUNS) * 0.5
    z[-2:] += 8
    assert segment(z[:-1], penalty(RUNS - 1)) == []
    assert segment(z, penalty(RUNS)) == [RUNS - 2]


def test_a_drift_does_not_hide_and_is_not_torn_to_pieces() -> None:
    rng = np.random.default_rng(15)
    counts = [
        len(change_points(latencies(rng.standard_normal(RUNS) + np.linspace(0, 5, RUNS)))) for _ in range(100)
    ]
    assert min(counts) >= 1
    assert max(counts) <= 4


def test_scale_does_not_matter_and_noise_is_that_of_neighbours() -> None:
    z = np.random.default_rng(16).standard_normal(400)
    z[200:] += 3
    assert noise(z) == pytest.approx(1.0, abs=0.12)
    assert change_points(latencies(z)) == change_points([1000 * value for value in latencies(z)])


def test_what_hardly_moves_has_not_changed() -> None:
    flat = [0.004] * 30 + [0.004 * 1.0005] * 30
    assert change_points(flat) == []
    assert change_points([0.004] * 30 + [0.0042] * 30) == [30]


def test_a_series_about_zero_and_one_that_is_too_short() -> None:
    assert change_points([0.0] * 20 + [1.0] * 20) == [20]
    assert change_points([1.0, 1.0, 1.0, 9.0, 9.0]) == []
    assert change_points([]) == []


def test_a_gap_is_for_the_caller_to_leave_out() -> None:
    with pytest.raises(ValueError, match="not finite"):
        change_points([1.0] * 8 + [math.nan])


def test_exact_steps_are_every_other_number_but_rounding() -> None:
    assert exact_steps([3.0, 3.0, 3.0 + 1e-12, 3.1, 3.0]) == [3, 4]
    assert exact_steps([7.0]) == []
