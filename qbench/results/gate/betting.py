"""Tests by betting on paired rounds: valid whatever the machine does, and whenever one stops.

**The design.** In lap i baseline and candidate run one round each, one after the other, and a fair coin c_i
= ±1 says which goes first (+1: the candidate goes second). The coin is independent of everything before it.
Observed is d_i = log(candidate time / baseline time).

**The null.** H(θ₀): *in any lap and either place the candidate would take at most e^θ₀ times what the
baseline would take in that lap and place.* Nothing is said of the times themselves: they may drift, come in
bursts that hit one place or both, depend on each other and on earlier coins, have no mean, and differ
between first and second place.

**Why it is valid.** Let y₁, y₂ be the logs of what the baseline would take in first and second place of lap
i. If the candidate takes exactly e^θ₀ times as long, then d_i − θ₀ = c_i·(y₂ − y₁): both differ by the
place alone, and a position effect is part of y₂ − y₁. Given the past and y, this is ±|y₂ − y₁| with
probability ½ each, so E[g((d_i − θ₀)/s_i) | past] = 0 for every odd g and every scale s_i > 0 that is known
before the lap. If the candidate takes less, d_i is smaller in either outcome of the coin, and since g does
not decrease the expectation is at most 0. With |g| ≤ 1 and 0 ≤ λ < 1 each factor 1 + λ·g is positive with
expectation at most 1, so E_n = Π (1 + λ·g((d_i − θ₀)/s_i)) is a nonnegative supermartingale that starts at
1, and so is any average of such. Ville (1939): P(E_n ≥ 1/α at any n) ≤ α. So 1 / max E_n is a p-value at
whatever moment one stops.

This is randomization inference (Fisher 1935) as a test by betting (Shafer 2021; Waudby-Smith and Ramdas
2023, "Estimating means of bounded random variables by betting"; Ramdas, Grünwald, Vovk and Shafer 2023).
E_n is an average over the fixed `FRACTIONS` λ and `SHAPES` of g(x) = tanh(k·x), from careful bets on the
bare sign to bold ones by size: the wealth of the best of them is reached up to their number, whatever the
noise.

**Intervals.** Each factor falls as θ₀ grows and s_i does not depend on θ₀, so E_n falls with θ₀ too; the θ₀
that are not rejected form an interval, whose ends `bounds` finds by bisection. It holds at every n at once.

Left out: carry-over that depends on which version ran first in the *same* lap (a candidate that leaves the
caches cold for the baseline). It would break the symmetry; rounds are warmed up for that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FRACTIONS = np.array([0.1, 0.2, 0.4, 0.6, 0.8, 0.95])
"""λ: how much of the wealth is staked at most."""
SHAPES = np.array([0.5, 1.0, 4.0])
"""k: the last bets nearly by sign alone."""
FIRST_SCALE = 0.02
"""Of d, before there are laps to tell it."""
LEAST_SCALE = 1e-4
REFRESH = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192)
"""Laps after which the scale is taken anew; it holds for those that follow."""
_MAD = 1.4826
_REACH = 12.0
"""Beyond e^±12 no interval looks."""


WORSE, SAME, BETTER = range(3)
"""What each of a stream's three tests would show: θ above τ, below τ, below −τ."""


class Bets:
    """Three tests on each of many streams of log ratios, which take their laps together."""

    def __init__(self, tau: Array) -> None:
        """`tau`: log of the threshold by stream, from 0 on."""
        self.tau = tau
        self.d: list[Array] = []
        """Log ratios by lap; NaN where a stream has none."""
        self.scales: list[Array] = []
        """What they were divided by."""
        self.log_e = np.zeros((3, len(tau)))
        """log E of the three tests by stream, after the last lap."""
        self.most_log_e = np.zeros((3, len(tau)))
        """The largest that they were."""
        self.spread = np.full(len(tau), FIRST_SCALE)
        """s for the next lap, by stream."""
        self._log_wealth = np.zeros((3, len(tau), len(SHAPES), len(FRACTIONS)))

    def add(self, d: Array) -> None:
        """One lap, [streams]; where it is NaN nothing is staked."""
        scale = self.spread
        x = np.nan_to_num(np.stack([d - self.tau, self.tau - d, -self.tau - d]) / scale)
        self._log_wealth += _gains(x)
        self.log_e = _log_average(self._log_wealth)
        self.most_log_e = np.maximum(self.most_log_e, self.log_e)
        self.d.append(d)
        self.scales.append(scale)
        if len(self.d) in REFRESH:
            self.spread = self._deviation()

    def _deviation(self) -> Array:
        """The median absolute deviation of d by stream: from the laps so far alone, and free of θ₀."""
        history, found = np.array(self.d), self.spread.copy()
        for stream in range(history.shape[1]):
            known = history[np.isfinite(history[:, stream]), stream]
            if len(known) >= REFRESH[0]:
                spread = _MAD * float(np.median(np.abs(known - np.median(known))))
                found[stream] = max(spread, LEAST_SCALE)
        return found


def _gains(x: Array) -> Array:
    """log(1 + λ·g(x)), with the axes SHAPES and FRACTIONS added."""
    gains: Array = np.log1p(np.tanh(x[..., None] * SHAPES)[..., None] * FRACTIONS)
    return gains


def _log_average(log_wealth: Array) -> Array:
    """log of the average over the last two axes."""
    top: Array = log_wealth.max(axis=(-2, -1))
    found: Array = top + np.log(np.exp(log_wealth - top[..., None, None]).mean(axis=(-2, -1)))
    return found


def bounds(d: Array, scale: Array, level: float) -> tuple[float, float]:
    """Ends of the θ that no test rejects, with probability at least `level` for all laps up to every n.

    `d` and `scale` are [laps] of one stream. Infinite where nothing can be said.
    """
    log_bar = float(np.log(2 / (1 - level)))
    known = np.isfinite(d)
    d, scale = d[known], scale[known]
    return _end(d, scale, log_bar), -_end(-d, scale, log_bar)


def _end(d: Array, scale: Array, log_bar: float) -> float:
    """Largest θ₀ such that H(θ₀), `at most e^θ₀`, is rejected at some lap; −inf if none."""
    low, high = -_REACH, _REACH
    if not rejected(d, scale, low, log_bar):
        return -np.inf
    while high - low > 1e-6:
        middle = (low + high) / 2
        if rejected(d, scale, middle, log_bar):
            low = middle
        else:
            high = middle
    return low


def rejected(d: Array, scale: Array, theta: float, log_bar: float) -> bool:
    """Whether log E of H(θ₀ = theta) reaches the bar at any lap; falls with theta."""
    if not len(d):
        return False
    paths: Array = np.cumsum(_gains((d - theta) / scale), axis=0)
    return bool(_log_average(paths).max() >= log_bar)
