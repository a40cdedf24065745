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


class Bets:
    """Many tests on the same laps, each of H(θ₀) for its own θ₀."""

    def __init__(self, tests: int) -> None:
        self.log_wealth = np.zeros((tests, len(SHAPES), len(FRACTIONS)))

    def update(self, x: Array) -> Array:
        """One lap: x is (d − θ₀)/s by test, 0 for no bet. Returns log E by test."""
        g = np.tanh(x[:, None] * SHAPES)
        self.log_wealth += np.log1p(g[:, :, None] * FRACTIONS)
        return log_average(self.log_wealth)


def log_average(log_wealth: Array) -> Array:
    """log of the average over the last two axes, SHAPES and FRACTIONS."""
    top: Array = log_wealth.max(axis=(-2, -1))
    mean = np.exp(log_wealth - top[..., None, None]).mean(axis=(-2, -1))
    found: Array = top + np.log(mean)
    return found


class Scale:
    """s_i by stream, from the laps before i alone and free of θ₀: the median absolute deviation of d."""

    def __init__(self, streams: int) -> None:
        self.now = np.full(streams, FIRST_SCALE)
        self._laps = 0

    def after(self, history: list[Array]) -> None:
        """Takes note of the laps so far; NaN is a lap that a stream has no ratio of."""
        self._laps = len(history)
        if self._laps not in REFRESH:
            return
        d = np.array(history)
        for stream in range(d.shape[1]):
            known = d[np.isfinite(d[:, stream]), stream]
            if len(known) >= REFRESH[0]:
                spread = _MAD * float(np.median(np.abs(known - np.median(known))))
                self.now[stream] = max(spread, LEAST_SCALE)


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
    g = np.tanh(((d - theta) / scale)[:, None] * SHAPES)
    paths = np.cumsum(np.log1p(g[:, :, None] * FRACTIONS), axis=0)
    return bool(log_average(paths).max() >= log_bar)
