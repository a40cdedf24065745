"""Intervals by a bootstrap over windows: of a perplexity, and of its ratio to a base on the same windows.

Tokens inside a window correlate, windows hardly: so windows are what is drawn again (Efron 1979). The
estimate is a ratio of sums, log ppl = Σ nll / Σ tokens, and the percentile interval of it is widened about
the estimate by √(n/(n−1)) · t(n−1) / z, the factor by which it is too narrow for few windows (Hesterberg
2015, "What Teachers Should Know about the Bootstrap", section on expanded percentiles).

The draws depend on the number of windows and the seed alone. So every cell with the same windows meets the
same draws, a ratio to the base is paired by construction, the same records always give the same interval,
and thousands of cells cost one matrix product.

Left out: the text itself. The interval speaks of other windows of this kind of text, not of another corpus.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DRAWS = 1000
LEVEL = 0.95
SEED = 20260101
_CELLS_AT_ONCE = 512


class Interval(NamedTuple):
    """An estimate and the two ends of its interval."""

    value: float
    low: float
    high: float


def log_intervals(
    nll: Array, tokens: Array, *, draws: int = DRAWS, level: float = LEVEL, seed: int = SEED
) -> tuple[Array, Array, Array]:
    """Estimate, low and high of Σ nll / Σ tokens for many cells at once, each of shape [cells].

    `nll` is [cells, windows] in nat, or a difference of two such; `tokens` is [windows]. With one window the
    ends are NaN: nothing can be said of the spread.
    """
    estimate = nll.sum(axis=1) / tokens.sum()
    windows = len(tokens)
    if windows < 2:
        unknown = np.full(len(nll), np.nan)
        return estimate, unknown, unknown
    weights = _weights(windows, draws, seed)
    weights = weights / (weights @ tokens)[:, None]
    tail = (1 - level) / 2
    ends = [
        np.quantile(nll[start : start + _CELLS_AT_ONCE] @ weights.T, [tail, 1 - tail], axis=1)
        for start in range(0, len(nll), _CELLS_AT_ONCE)
    ]
    low, high = np.concatenate(ends, axis=1) if ends else np.empty((2, 0))
    factor = widening(windows, level)
    return estimate, estimate + factor * (low - estimate), estimate + factor * (high - estimate)


def perplexity_interval(nll: Array, tokens: Array, *, level: float = LEVEL) -> Interval:
    """The perplexity of one cell from its windows, each of shape [windows]; ends are NaN for one window."""
    return _exponentiated(*log_intervals(nll[None], tokens, level=level))


def ratio_interval(nll: Array, base_nll: Array, tokens: Array, *, level: float = LEVEL) -> Interval:
    """Perplexity over the base's perplexity, paired over the same windows."""
    return _exponentiated(*log_intervals((nll - base_nll)[None], tokens, level=level))


def widening(windows: int, level: float = LEVEL) -> float:
    """How much wider than the percentiles an interval over so few windows has to be; at least two windows."""
    normal = NormalDist().inv_cdf((1 + level) / 2)
    return math.sqrt(windows / (windows - 1)) * student_quantile((1 + level) / 2, windows - 1) / normal


def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t, for probability > 0.5.

    Closed forms for 1 and 2 degrees of freedom; from 3 on the expansion in 1/freedom of Abramowitz and
    Stegun 26.7.5, within 0.2 % at the 97.5 % point.
    """
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        return (2 * probability - 1) * math.sqrt(2 / (4 * probability * (1 - probability)))
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


@functools.lru_cache(maxsize=8)
def _weights(windows: int, draws: int, seed: int) -> Array:
    """How often each window is drawn, [draws, windows]; each row sums to `windows`."""
    drawn = np.random.default_rng([seed, windows]).multinomial(
        windows, np.full(windows, 1 / windows), size=draws
    )
    return drawn.astype(np.float64)


def _exponentiated(estimate: Array, low: Array, high: Array) -> Interval:
    return Interval(*(float(np.exp(end[0])) for end in (estimate, low, high)))
