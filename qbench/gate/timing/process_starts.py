"""What whole loads say: every start of both processes is one bet, on the median of its laps.

Two processes of the very same code can differ for as long as they live: by where their memory came to lie,
by the pages and the core that they got (Mytkowicz and others 2009). Laps cannot tell that luck from a
regression, since they all share it. So no number of laps of one pair of processes calls anything worse.

**The null.** H(θ₀): *whichever of the two processes of a load is the candidate's, it would take at most
e^θ₀ times what the baseline would take in that process, lap and place.* Which process is whose is as good
as a coin: both are started the same way, in an order that is drawn. Exchanging them turns the sign of d −
θ₀ in every lap of the load at once, and with it that of the median m. So E[g((m − θ₀)/s) | all loads
before, of every cell] = 0 for an odd g, at most 0 where the candidate takes less, and the product over
loads is a supermartingale as in `betting`.

How many laps make the median is settled by what the exchange does not change: by the spread of earlier
loads, in the first load by its own (a deviation from its median), and by the time that is left. Which cells
are loaded again, and when a cell has no more loads, may depend on everything that is past: the bets that
are made are fair ones all the same, and 1 / (largest wealth) is a p-value for every comparison of the
family by itself. That is all that Holm's correction needs.
"""

from __future__ import annotations

import math
from statistics import median
from typing import NamedTuple

import numpy as np

from qbench.gate.timing.e_values import Array, deviation

LAPS, MOST = 8, 32
"""Fewest laps for a load to count, and most that do: a noisy machine needs more for the same accuracy."""
FINE = 0.025
"""Standard error that the median of a load is meant to have, of a log ratio."""
FRACTIONS = np.array([0.6, 0.97])
LEAST_SCALE = 0.005
"""Of a median above the threshold: its standard error, or this; from about here on its sign counts."""

_ERROR = math.sqrt(math.pi / 2)
"""Standard error of the median of n normal numbers, times √n."""


class Evidence(NamedTuple):
    """log E of `worse by more than τ`, its largest so far and that of now; and the largest of `by less`."""

    beyond: float = 0.0
    beyond_now: float = 0.0
    within: float = 0.0


class Loads:
    """The loads of one cell, and what they say of each of its streams."""

    def __init__(self, tau: Array) -> None:
        """`tau`: log of the threshold by stream."""
        self.now = -1
        """The newest load; they are numbered from 0 or 1 on in the order in which they begin."""
        self.laps = 0
        """Of the newest load."""
        self.evidence = [Evidence() for _ in tau]
        self._tau = tau.tolist()
        self._wanted: list[int | None] = [None] * len(tau)
        """Laps that make a median; None: not known yet."""
        self._laps: list[list[float]] = [[] for _ in tau]
        """Of the newest load, as far as they count."""
        self._medians: list[list[float]] = [[] for _ in tau]
        self._scales: list[list[float]] = [[] for _ in tau]
        self._spread = [math.nan] * len(tau)

    def add(self, load: int, d: list[float], spread: Array) -> bool:
        """One lap's log ratios by stream, and the spread of d before this lap.

        Returns whether the evidence has changed.
        """
        changed = load != self.now and self._begin(load, spread)
        self.laps += 1
        for stream, value in enumerate(d):
            if self.wants(stream, load) and math.isfinite(value):
                changed |= self._take(stream, value)
        return changed

    def wants(self, stream: int, load: int) -> bool:
        """Whether the load has not yet given the median of this stream."""
        wanted = self._wanted[stream]
        return load != self.now or wanted is None or len(self._laps[stream]) < wanted

    def count(self, stream: int) -> int:
        """Whole loads."""
        return len(self._medians[stream])

    def medians(self, stream: int) -> Array:
        """Of each whole load."""
        return np.array(self._medians[stream])

    def scales(self, stream: int) -> Array:
        """What the medians are divided by."""
        return np.array(self._scales[stream])

    def _take(self, stream: int, value: float) -> bool:
        laps = self._laps[stream]
        laps.append(value)
        if self._wanted[stream] is None and len(laps) == LAPS:
            self._spread[stream] = deviation(np.array(laps))
            self._wanted[stream] = _needed(self._spread[stream])
        return len(laps) == self._wanted[stream] and self._close(stream)

    def _close(self, stream: int) -> bool:
        laps = self._laps[stream]
        self._medians[stream].append(median(laps))
        self._scales[stream].append(max(_ERROR * self._spread[stream] / math.sqrt(len(laps)), LEAST_SCALE))
        self.evidence[stream] = log_e(self.medians(stream), self.scales(stream), self._tau[stream])
        return True

    def _begin(self, load: int, spread: Array) -> bool:
        """What the last load gave counts if it had enough laps, though time ended it before the last."""
        changed = False
        for stream, laps in enumerate(self._laps):
            if LAPS <= len(laps) < (self._wanted[stream] or 0):
                changed = self._close(stream)
        if self.now >= 0:
            self._spread = spread.tolist()
            self._wanted = [_needed(one) for one in self._spread]
        self.now, self.laps, self._laps = load, 0, [[] for _ in self._laps]
        return changed


def _needed(spread: float) -> int:
    """Laps for a median as fine as `FINE`, of normal noise."""
    return round(min(max((_ERROR * spread / FINE) ** 2, LAPS), MOST))


def log_e(medians: Array, scales: Array, tau: float) -> Evidence:
    """What whole loads say, in their order."""
    if not len(medians):
        return Evidence()
    x = np.tanh((medians - tau) / scales)
    beyond, within = (np.log(np.cumprod(1 + g[:, None] * FRACTIONS, axis=0).mean(axis=1)) for g in (x, -x))
    most = [max(0.0, float(one.max())) for one in (beyond, within)]
    return Evidence(most[0], float(beyond[-1]), most[1])
