"""Intervals by a bootstrap over windows, of a perplexity and of its ratio to a base on the same windows.

Tokens inside a window correlate, and so do neighbouring windows: on *Persuasion*, in windows of 512, by 0.35,
0.11, 0.07, 0.06 … for a model's own losses (a chapter is easy or hard throughout) and by 0.10, 0.07, 0.04 …
for the difference of two models. Drawing single windows then gives intervals that cover in 80 and 90 % of
cases instead of 95. So blocks of neighbours are drawn (circular block bootstrap: Politis and Romano
1992), longer ones for a model alone than for a difference.

The estimate is a ratio of sums, log ppl = Σ nll / Σ tokens, and the percentile interval of it is widened
about the estimate by √(m/(m−1)) · t(m−1) / z for m blocks, the factor by which it is too narrow for few
(Hesterberg 2015, "What Teachers Should Know about the Bootstrap", section on expanded percentiles). Few
windows hold too few blocks: then single ones are drawn, and `FEW` stands for their correlation.
`tests/results/stats/test_coverage.py` simulates all this: 93 to 97 % from two windows up.

The draws depend on the number of windows and the seed alone. So every cell with the same windows meets the
same draws, a ratio to the base is paired by construction, the same records always give the same interval,
and thousands of cells cost one matrix product.

Left out: the text itself. The interval speaks of other windows of this kind of text, not of another corpus.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # numpy is imported where it is used: reading a suite names the metrics, and needs none
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

DRAWS = 1000
LEVEL = 0.95
SEED = 20260101
_CELLS_AT_ONCE = 256

Kind = Literal["own", "difference"]
"""Correlation of windows: like one model's own losses, or as little as the difference of two models'.

KL divergence by window does as the former (0.21 to 0.31, then 0.05), top-1 agreement as the latter."""

SINGLE: dict[Kind, int] = {"own": 6, "difference": 10}
"""Number of windows below which single ones are drawn."""
FEW: dict[Kind, float] = {"own": 1.4, "difference": 1.15}
"""Factor by which the interval is then widened: √(1 + 2·Σ of the correlations inside so few windows)."""


def intervals(
    sums: Array, tokens: Array, kind: Kind, *, draws: int = DRAWS, level: float = LEVEL, seed: int = SEED
) -> tuple[Array, Array, Array]:
    """Estimate, low and high of Σ sums / Σ tokens for many cells at once, each of shape [cells].

    `sums` is [cells, windows] in the order of the text, such as nat by window; `tokens` is [windows]. With
    one window the ends are NaN: nothing can be said of the spread.
    """
    import numpy as np

    estimate = sums.sum(axis=1) / tokens.sum()
    windows = len(tokens)
    if windows < 2:
        unknown = np.full(len(sums), np.nan)
        return estimate, unknown, unknown
    weights = _weights(windows, block_length(windows, kind), draws, seed)
    weights = weights / (weights @ tokens)[:, None]
    tail = (1 - level) / 2
    low, high = _percentiles(sums, weights.T, (tail, 1 - tail))
    factor = widening(windows, kind, level)
    return estimate, estimate + factor * (low - estimate), estimate + factor * (high - estimate)


def _percentiles(sums: Array, weights: Array, shares: tuple[float, ...]) -> Array:
    """Quantiles, [shares, cells], of the draws `sums @ weights`.

    Some cells at a time in the same memory: fresh pages cost more than the product does, and so do threads
    that wait for those of BLAS.
    """
    import numpy as np

    drawn = np.empty((min(len(sums), _CELLS_AT_ONCE), weights.shape[1]))
    found = np.empty((len(shares), len(sums)))
    for start in range(0, len(sums), _CELLS_AT_ONCE):
        part = sums[start : start + _CELLS_AT_ONCE]
        values = np.matmul(part, weights, out=drawn[: len(part)])
        found[:, start : start + len(part)] = _quantiles(values, shares)
    return found


def _quantiles(values: Array, shares: tuple[float, ...]) -> Array:
    """Quantiles, [shares, rows], of `values`, which it sorts.

    Equal to `numpy.quantile(values, shares, axis=1)` to the last bit, in a fifth of its time, since numpy
    sorts with vectors and partitions without.
    """
    import numpy as np

    values.sort(axis=1)
    found = []
    for share in shares:
        place = share * (values.shape[1] - 1)
        below, part = math.floor(place), place - math.floor(place)
        low, high = values[:, below], values[:, math.ceil(place)]
        step = high - low
        found.append(low + step * part if part < 0.5 else high - step * (1 - part))
    return np.asarray(found)


def block_length(windows: int, kind: Kind) -> int:
    """Number of windows in a block."""
    return round(_length(windows, kind))


def _length(windows: int, kind: Kind) -> float:
    """0.7·n^0.6 of a model's own losses, n^0.39 of a difference; 1 where single windows are drawn."""
    if windows < SINGLE[kind]:
        return 1.0
    return float(0.7 * windows**0.6 if kind == "own" else windows**0.39)


def widening(windows: int, kind: Kind, level: float = LEVEL) -> float:
    """Factor by which an interval over so few windows is wider than the percentiles; at least two windows."""
    normal = NormalDist().inv_cdf((1 + level) / 2)
    blocks = windows / _length(windows, kind)  # not rounded: or the width would jump from n to n + 1
    few = FEW[kind] if windows < SINGLE[kind] else 1.0
    return few * math.sqrt(blocks / (blocks - 1)) * student_quantile((1 + level) / 2, blocks - 1) / normal


@functools.cache
def student_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t for any degrees of freedom above 0, whole or not."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


@functools.lru_cache(maxsize=8)
def _weights(windows: int, block: int, draws: int, seed: int) -> Array:
    """Number of times that each window is drawn, [draws, windows]; each row sums to `windows`.

    Blocks begin anywhere and go round from the end to the beginning; the last one is cut to fit.
    """
    import numpy as np

    starts = np.random.default_rng([seed, windows]).integers(windows, size=(draws, -(-windows // block)))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :windows] % windows
    weights = np.zeros((draws, windows))
    np.add.at(weights, (np.arange(draws)[:, None], drawn), 1.0)
    return weights
