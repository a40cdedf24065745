"""Corrections against their definitions by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.results.stats.multiple_testing import benjamini_hochberg, holm

P = st.lists(st.floats(0, 1), min_size=1, max_size=7)


def _closed(p: list[float]) -> list[float]:
    """Holm is the closed test of Bonferroni's: the largest |S|·min p over all sets S that hold the test."""
    tests = range(len(p))
    sets = [chosen for size in range(1, len(p) + 1) for chosen in itertools.combinations(tests, size)]
    return [
        min(1.0, max(len(chosen) * min(p[one] for one in chosen) for chosen in sets if test in chosen))
        for test in tests
    ]


@settings(deadline=None)
@given(P)
def test_holm_is_the_closed_test(p: list[float]) -> None:
    assert np.allclose(holm(p), _closed(p))


@settings(deadline=None)
@given(P)
def test_benjamini_hochberg_is_the_smallest_alpha_at_which_a_test_is_rejected(p: list[float]) -> None:
    """At alpha the k smallest are rejected, for the largest k with p_(k) ≤ k·α / m; alpha is m·p_(k) / k."""
    m, ordered = len(p), sorted(p)
    alphas = [min(1.0, m * own / k) for k, own in enumerate(ordered, start=1)]
    for own, adjusted in zip(p, benjamini_hochberg(p), strict=True):
        rejecting = [alpha for k, alpha in enumerate(alphas, start=1) if ordered[k - 1] >= own]
        assert adjusted == pytest.approx(min(rejecting), rel=1e-12)


def test_e_values_as_p_are_e_bh() -> None:
    """Rejects the k largest e-values for the largest k with e_(k) ≥ m / (k·α) (Wang and Ramdas 2022)."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        e = np.exp(rng.normal(1, 3, size=9))
        ordered = np.sort(e)[::-1]
        k = max((k for k in range(1, 10) if ordered[k - 1] >= 9 / (k * 0.1)), default=0)
        assert (benjamini_hochberg(np.minimum(1 / e, 1)) <= 0.1).sum() == k


def test_none_and_nonsense() -> None:
    assert len(holm([])) == len(benjamini_hochberg([])) == 0
    for wrong in ([float("nan")], [-0.1]):
        with pytest.raises(ValueError, match="p-value"):
            holm(wrong)
