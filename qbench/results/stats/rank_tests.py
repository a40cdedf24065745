"""Mann and Whitney's one-sided exact rank test (1947), for timed rounds of two separate jobs.

The test counts rounds as independent, and the rounds of one job are not: they share its moment, its
neighbours and its memory layout. The same code can differ by a quarter between two jobs. So a gate against a
stored baseline uses it only with `--gate-timed`; side by side in one job, `qbench.gate.timing` is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np


def larger_p(x: Sequence[float], y: Sequence[float]) -> float:
    """P-value of the null that `x` tends to be no larger than `y`; 1 where a side has no rounds.

    Ties count as `x` smaller, which only makes the p-value larger.
    """
    if not (len(x) and len(y)):
        return 1.0
    from scipy.stats import mannwhitneyu

    values = np.concatenate([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)])
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))  # stable: x stands before an equal y
    found = mannwhitneyu(ranks[: len(x)], ranks[len(x) :], alternative="greater", method="exact")
    return float(found.pvalue)


def least_p(n: int, m: int) -> float:
    """The smallest p-value that `n` and `m` rounds can give."""
    return 1 / comb(n + m, n)
