"""The rank test against all orders by brute force."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest

from qbench.results.stats.rank_tests import larger_p, least_p


def enumerated(x: list[float], y: list[float]) -> float:
    """Share of the ways to choose the places of `x` that give as many pairs x > y, or more."""
    n, m = len(x), len(y)
    wins = sum(a > b for a in x for b in y)
    chosen = itertools.combinations(range(n + m), n)
    counts = [sum(a > b for a in places for b in set(range(n + m)) - set(places)) for places in chosen]
    return sum(count >= wins for count in counts) / comb(n + m, n)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (3, 4), (6, 3), (5, 5)])
def test_p_is_the_share_of_all_orders(n: int, m: int) -> None:
    rng = np.random.default_rng([n, m])
    for shift in (-1.0, 0.0, 2.0):
        x, y = list(rng.normal(shift, 1, n)), list(rng.normal(0, 1, m))
        assert larger_p(x, y) == pytest.approx(enumerated(x, y))
        x, y = [round(value) for value in x], [round(value) for value in y]
        assert larger_p(x, y) == pytest.approx(enumerated(x, y)), "ties count as no win"
    assert larger_p(range(10, 10 + n), range(m)) == pytest.approx(least_p(n, m))


def test_ties_never_help() -> None:
    assert larger_p([1.0, 1.0, 2.0], [1.0, 1.0, 1.0]) > larger_p([1.1, 1.2, 2.0], [1.0, 1.0, 1.0])
    assert larger_p([1.0] * 5, [1.0] * 5) == 1.0


def test_a_side_without_rounds_says_nothing() -> None:
    assert larger_p([], [1.0]) == larger_p([1.0], []) == 1.0
