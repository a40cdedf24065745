"""E-values of paired rounds: tests that are valid whatever the machine does, and whenever sampling stops.

**The design.** In block i baseline and candidate run one round each, one after the other, and a fair coin c_i
= ±1 says which goes first (+1: the candidate goes second). The coin is independent of everything before it.
Observed is d_i = log(candidate time / baseline time).

**The null.** H(θ₀): *in any block and either place the candidate would take at most e^θ₀ times what the
baseline would take in that block and place.* Nothing is said of the times themselves: they may drift, come in
bursts that hit one place or both, depend on each other and on earlier coins, have no mean, and differ
between first and second place.

**Why it is valid.** Let y₁, y₂ be the logs of what the baseline would take in first and second place of block
i. If the candidate takes exactly e^θ₀ times as long, then d_i − θ₀ = c_i·(y₂ − y₁): both differ by the
place alone, and a position effect is part of y₂ − y₁. Given the past and y, this is ±|y₂ − y₁| with
probability ½ each, so E[g((d_i − θ₀)/s_i) | past] = 0 for every odd g and every scale s_i > 0 that is known
before the block. If the candidate takes less, d_i is smaller in either outcome of the coin, and since g does
not decrease the expectation is at most 0. With |g| ≤ 1 and 0 ≤ λ < 1 each factor 1 + λ·g is positive with
expectation at most 1, so E_n = Π (1 + λ·g((d_i − θ₀)/s_i)) is a nonnegative supermartingale that starts at
1, and so is any average of such. Ville (1939): P(E_n ≥ 1/α at any n) ≤ α. So 1 / max E_n is a p-value at
whatever moment one stops.

E_n is an e-value, and the sequence of them an e-process. This is randomization inference (Fisher 1935) as a
test by betting (Shafer 2021; Waudby-Smith and Ramdas 2023, "Estimating means of bounded random variables by
betting"; Ramdas, Grünwald, Vovk and Shafer 2023). E_n averages the wealth of strategies, one for each of the
fixed `FRACTIONS` λ and `SHAPES` k of g(x) = tanh(k·x): from small stakes on the sign alone to large ones by
size. The average is at least the wealth of the best divided by their number, whatever the noise. The wealth
of a single strategy is cut off at `MOST`: a supermartingale that is cut off stays one.

**Estimate and interval.** Each factor falls as θ₀ grows and s_i does not depend on θ₀, so E_n falls with θ₀
too; the θ₀ that E_n does not reject form an interval. At whatever moment one stops, E_n has expectation at
most 1, so the true θ is rejected with probability at most α (Markov): it holds where sampling ended, and
only the last E_n is asked. The estimate is the θ against which both sides have the same evidence, and hence
the least (an M-estimate, Huber 1964): so it lies within the interval of every level.

Left out: carry-over that depends on which version ran first in the *same* block (a candidate that leaves the
caches cold for the baseline). It would break the symmetry; rounds are warmed up for that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FRACTIONS = np.array([0.1, 0.2, 0.4, 0.6, 0.8, 0.95])
"""λ: the largest share of the wealth that is staked."""
SHAPES = np.array([0.5, 1.0, 4.0])
"""k: the last one looks nearly at the sign alone."""
MOST = 1e200
"""Upper bound of the wealth of a single strategy."""
FIRST_SCALE = 0.02
"""Scale of d before there are blocks to estimate it from."""
LEAST_SCALE = 1e-4
"""Lower bound of that scale."""
REFRESH = frozenset(
    (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192)
)
"""Numbers of blocks after which the scale is estimated again; it holds for the blocks that follow."""
_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
_REACH = 12.0
"""Intervals end at e^±12."""

WORSE, SAME, WELL, BETTER = range(4)
"""The tests of a stream, by what they show: θ above τ; below τ; well below τ; below −τ."""
_SIGNS = np.array([[1.0], [-1.0], [-1.0], [-1.0]])


class EValues:
    """Four tests on each of many streams of log ratios, which get their blocks together."""

    def __init__(self, tau: Array, margin: float = 0.5) -> None:
        """`tau`: log of the threshold by stream, from 0 on; `margin`: part of it that WELL is below."""
        self.tau = tau
        self.d: list[Array] = []
        """Log ratios by block; NaN where a stream has none."""
        self.scales: list[Array] = []
        """Scales that `d` was divided by."""
        self.e = np.ones((4, len(tau)))
        """E of the tests by stream, after the last block."""
        self.most_e = np.ones((4, len(tau)))
        """The largest E so far."""
        self.spread = np.full(len(tau), FIRST_SCALE)
        """s for the next block, by stream."""
        self._offsets = np.stack([-tau, tau, margin * tau, -tau])
        self._wealth = np.ones((4, len(tau), len(SHAPES), len(FRACTIONS)))
        self._flat = self._wealth.reshape(4, len(tau), -1)

    def add(self, d: Array) -> None:
        """Takes one block, [streams]; where it is NaN nothing is staked."""
        scale = self.spread
        x = (_SIGNS * d + self._offsets) / scale
        x[x != x] = 0.0
        self._wealth *= 1.0 + np.tanh(x[:, :, None] * SHAPES)[:, :, :, None] * FRACTIONS
        np.minimum(self._wealth, MOST, out=self._wealth)
        self.e = self._flat.sum(axis=2) / self._flat.shape[2]
        np.maximum(self.most_e, self.e, out=self.most_e)
        self.d.append(d)
        self.scales.append(scale)
        if len(self.d) in REFRESH:
            self.spread = self._deviation()

    def _deviation(self) -> Array:
        """Median absolute deviation of d by stream, from the blocks so far alone and free of θ₀."""
        history, found = np.array(self.d), self.spread.copy()
        for stream in range(history.shape[1]):
            known = history[np.isfinite(history[:, stream]), stream]
            if len(known) >= min(REFRESH):
                found[stream] = max(deviation(known), LEAST_SCALE)
        return found


def deviation(values: Array) -> float:
    """Standard deviation of the normal distribution with the same median absolute deviation."""
    return _MAD * float(np.median(np.abs(values - np.median(values))))


class Interval:
    """Estimate and confidence interval of θ from all blocks of one stream."""

    def __init__(self, d: Array, scale: Array) -> None:
        """`d` and `scale` are [blocks]; blocks without a ratio are NaN."""
        known = np.isfinite(d)
        self._d, self._scale = d[known], scale[known]

    @property
    def estimate(self) -> float:
        """θ against which the two one-sided tests have the least evidence; NaN without blocks."""
        if not len(self._d):
            return np.nan
        return _crossing(lambda theta: self._above(theta) - self._above(theta, -1.0))

    def ends(self, level: float) -> tuple[float, float]:
        """Smallest and largest θ that neither test rejects, at `level`; infinite where there is no end."""
        log_bar = float(np.log(2 / (1 - level)))
        below, above = (self._end(log_bar, sign) for sign in (1.0, -1.0))
        return min(below, -above), max(below, -above)

    def _end(self, log_bar: float, sign: float) -> float:
        """Largest θ for which `at most θ` is rejected, of −d where the sign is −1; −inf if none."""
        if self._above(sign * -_REACH, sign) < log_bar:
            return -np.inf
        return sign * _crossing(lambda theta: sign * (self._above(theta, sign) - log_bar))

    def _above(self, theta: float, sign: float = 1.0) -> float:
        """log E of H(θ₀ = theta), `at most e^θ₀`; with the sign −1 of `at least`."""
        return float(_log_e(sign * (self._d - theta) / self._scale))


def _crossing(falls: Callable[[float], float]) -> float:
    """Zero of a falling function in ±_REACH, or the end that is nearer to it."""
    from scipy.optimize import brentq

    if falls(-_REACH) <= 0:
        return -_REACH
    return float(brentq(falls, -_REACH, _REACH, xtol=1e-13)) if falls(_REACH) < 0 else _REACH


def _log_e(x: Array) -> float:
    """log E of blocks given as multiples of their scales: of the average over fractions and shapes."""
    logs = np.log1p(np.tanh(x[:, None] * SHAPES)[:, :, None] * FRACTIONS).sum(axis=0)
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).mean()))
