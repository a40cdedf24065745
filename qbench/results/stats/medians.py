"""Intervals of medians of repeated timings, without a guess at their distribution.

Of one median: two of the sorted samples themselves. Between the k-th from below and the k-th from above lies
the true median with probability 1 − 2·P(Binomial(n, ½) < k), whatever the distribution (Hahn and Meeker,
"Statistical Intervals", section 5.2); k is the largest for which that is at least the level. Fewer than six
samples cannot reach 95 %: the interval is then None, not a narrower one. Samples count as independent; those
of one process share its luck (memory layout, the moment), which only repetitions of the cell show.

Of a ratio of medians: percentile bootstrap over turns, both medians from the same drawn turns, so that a slow
moment that hit both stays in both (Efron 1979).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.95
DRAWS = 2000
SEED = 20260101
FEWEST = 6
"""Samples for a 95 % interval of a median: 1 − 2·½⁶ = 0.969, and 0.9375 for five."""


def quantile(ordered: Sequence[float], fraction: float) -> float | None:
    """Of sorted values, linear between neighbours, as numpy.quantile; None for no values."""
    if not ordered:
        return None
    place = fraction * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    return below + (above - below) * (place - math.floor(place))


def median_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float] | None:
    """The two samples between which the true median lies with at least `level`; None for too few."""
    ordered = sorted(values)
    rank = _rank(len(ordered), level)
    return (ordered[rank - 1], ordered[-rank]) if rank else None


@functools.cache
def _rank(n: int, level: float) -> int:
    """How many samples from either end the interval's ends stand, counted from 1; 0 for too few samples."""
    rank, outside = 0, 0.0
    while rank < n and outside + math.comb(n, rank) / 2**n <= (1 - level) / 2:
        outside += math.comb(n, rank) / 2**n
        rank += 1
    return rank


def ratio_interval(
    above: Sequence[float], below: Sequence[float], level: float = LEVEL
) -> tuple[float, float] | None:
    """Of median(above) / median(below), turns paired; None for fewer than `FEWEST` turns."""
    turns = min(len(above), len(below))
    if turns < FEWEST:
        return None
    import numpy as np  # here, since reading a suite needs intervals' names and no array

    drawn = np.random.default_rng(SEED).integers(turns, size=(DRAWS, turns))
    over, under = (_medians(values, drawn) for values in (above, below))
    low, high = np.quantile(over / under, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _medians(values: Sequence[float], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    import numpy as np

    medians: NDArray[np.float64] = np.median(np.asarray(values, dtype=np.float64)[drawn], axis=1)
    return medians
