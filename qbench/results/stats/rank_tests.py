"""A rank test of two sets of rounds that never took turns: for timed numbers against a stored baseline.

Mann and Whitney (1947), one-sided and exact. It counts rounds as independent, and those of one job are not:
they share its moment, its neighbours, its place in memory. Between two jobs the same code can differ by a
quarter. So it is asked for by name only (`--gate-timed`), and what can be gated for certain is A against B
in one job.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import comb


def larger_p(x: Sequence[float], y: Sequence[float]) -> float:
    """P-value of `x tends to be no larger than y`; ties count against it, which only makes it larger."""
    wins = sum(a > b for a in x for b in y)
    return tail(len(x), len(y), wins)


def tail(n: int, m: int, wins: int) -> float:
    """P(U ≥ wins) for n and m samples of one continuous distribution; 1 where a side has none."""
    counts = _counts(n, m)
    return sum(counts[wins:]) / comb(n + m, n)


def least_p(n: int, m: int) -> float:
    """The smallest p that so many rounds can give."""
    return 1 / comb(n + m, n)


@functools.lru_cache(maxsize=256)
def _counts(n: int, m: int) -> tuple[int, ...]:
    """In how many orders of n and m samples U is 0, 1, …, n·m: the Gaussian binomial coefficient.

    Its product form, Π (1 − q^(m+i)) / (1 − q^i) for i = 1 … n, multiplied and divided out term by term.
    """
    size = n * m + 1
    found = [1] + [0] * (size - 1)
    for i in range(1, n + 1):
        for place in range(size - 1, m + i - 1, -1):
            found[place] -= found[place - m - i]
        for place in range(i, size):
            found[place] += found[place - i]
    return tuple(found)
