"""Change points of a series: the places where its level changes, by robust penalised segmentation.

Fearnhead and Rigaill, "Changepoint Detection in the Presence of Outliers", JASA 114 (2019): the segmentation
that minimises

    Σ over segments [ min over θ of Σ min((y_t − θ)² / σ², K²) ] + β · (number of changes)

(eq. 2 with the biweight loss, eq. 5), found by their recursion over Q_t(θ), the best cost of the first t
values when the last segment has level θ (functional pruning; Algorithm 1). They keep Q_t as pieces of
parabolas; here θ runs over a lattice of σ/10, which makes each step one line of numpy, costs at most 1/400 of
a squared σ for each value, and is the exact minimum over that lattice. Time is n × lattice.

Why this one: CI noise has heavy tails and bursts. A value that lies far off costs K² and no more, so with
β > K² a single outlier can never be a change, at either end or inside, however far it lies; a least-squares
segmentation (PELT with a normal cost, E-divisive) turns it into two. Tests by rank are as robust, and need
five runs to say anything of a jump of any size; this one needs two.

σ comes from the differences of neighbours (Hampel's estimate, which a few level shifts do not touch). Slow
changes (a machine that stays warm for days) make neighbours alike and σ too small; docs/history.md tells
the cost. K and β were chosen on 2,000 synthetic series of 60 runs for each kind
of noise (`tests/results/stats/test_change_points.py` repeats a part): any change at all in 1.1 % of normal
series, at most 3 % of those with heavy or skew tails; a shift of 2 σ within two runs in 91 % (least squares
told that there is exactly one: 94 %).

Left out: trends. A slow drift is shown as the few steps that follow it best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LIMIT = 3.0
"""K: distance in σ beyond which a value has no more influence on its level."""
PENALTY = 3.7
"""β over ln n. At 60 values β is 15.1: more than one outlier can save (K² = 9), less than two (18)."""
FEWEST = 6
"""Least number of values: of fewer, σ would come from less than five differences."""
LEAST_SCALE = 1e-3
"""Lower bound of σ as a share of the median: a move by less than two thousandths is no change."""
STEP = 0.1
"""Lattice of θ, in σ."""


def change_points(values: Sequence[float]) -> list[int]:
    """Indices at which a new level begins, rising, of a series in the order of time; empty for none.

    Values that are all positive are compared by ratio (their logarithms). Raises ValueError for a value that
    is not finite: the caller leaves gaps out.
    """
    series = np.asarray(values, dtype=np.float64)
    if not np.isfinite(series).all():
        raise ValueError("change points of a series with values that are not finite")
    if len(series) < FEWEST:
        return []
    logarithms = bool((series > 0).all())
    series = np.log(series) if logarithms else series
    least = LEAST_SCALE if logarithms else LEAST_SCALE * abs(float(np.median(series)))
    scale = max(noise(series), least)
    if scale == 0.0:  # about zero, and most neighbours are equal
        return exact_steps(values)
    return segment((series - np.median(series)) / scale, penalty(len(series)))


def exact_steps(values: Sequence[float], tolerance: float = 1e-9) -> list[int]:
    """Change points of numbers without noise: wherever one differs from the one before, but for rounding."""
    return [
        index
        for index in range(1, len(values))
        if not math.isclose(values[index], values[index - 1], rel_tol=tolerance)
    ]


def noise(series: Array) -> float:
    """σ from neighbours: the median of their distances, which is √2 · 0.6745 σ for normal noise."""
    return float(np.median(np.abs(np.diff(series)))) / (math.sqrt(2) * 0.674489750)


def penalty(count: int) -> float:
    """β: the cost of each change, in squared σ."""
    return PENALTY * math.log(count)


def segment(z: Array, beta: float, limit: float = LIMIT) -> list[int]:
    """The best segmentation of a series in units of its noise; indices where segments begin, without 0."""
    levels = lattice(z, limit)
    cost = np.zeros(len(levels))
    begin = np.zeros(len(levels), dtype=np.intp)
    """Begin of the segment that ends here at this level."""
    before: list[int] = []
    for index, value in enumerate(z):
        if index:
            fresh = float(cost.min()) + beta
            begin = np.where(fresh < cost, index, begin)
            cost = np.minimum(cost, fresh)
        cost = cost + np.minimum((value - levels) ** 2, limit**2)
        before.append(int(begin[cost.argmin()]))
    return _walk_back(before)


def lattice(z: Array, limit: float = LIMIT) -> Array:
    """Levels to choose from: multiples of STEP no farther than `limit` from some value."""
    near = np.arange(-math.ceil(limit / STEP), math.ceil(limit / STEP) + 1)
    return np.unique(np.round(z / STEP)[:, None] + near) * STEP


def _walk_back(before: Sequence[int]) -> list[int]:
    found: list[int] = []
    end = len(before)
    while end and (begin := before[end - 1]):
        found.append(begin)
        end = begin
    return found[::-1]
