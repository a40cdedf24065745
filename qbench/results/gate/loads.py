"""What fresh processes say of a suspect: a comparison that the laps of one pair of processes call worse.

Two processes of the very same code can differ for as long as they live: by where their memory came to lie,
by the pages and the core that they got (Mytkowicz and others 2009). Laps cannot tell that luck from a
regression, since they all share it. So a suspect is loaded anew, several times, and a load is one bet, not
each of its laps.

**The null.** H(θ₀): *whichever of the two processes of a load is the candidate's, it would take at most
e^θ₀ times what the baseline would take in that process, lap and place.* Which process is whose is as good
as a coin: both are started the same way, in an order that is drawn. Exchanging them turns the sign of d −
θ₀ in every lap of the load at once, and with it that of the median m. So E[g((m − θ₀)/s) | earlier loads] =
0 for an odd g, at most 0 where the candidate takes less, and the product over loads is a supermartingale as
in `betting`.

Only loads that began after the suspicion count: they know nothing of what raised it. Hence Holm's
correction over the suspects alone bounds the probability of any false alarm, however they were picked.
"""

from __future__ import annotations

import math
from statistics import median
from typing import NamedTuple

import numpy as np

from qbench.results.gate.betting import Array

LAPS, MOST = 8, 64
"""Fewest laps for a load to count, and most that do: a noisy machine needs more for the same accuracy."""
FINE = 0.01
"""Standard error that the median of a load is meant to have, of a log ratio."""
PATIENCE = 250
"""Laps without a decision after which a comparison is looked at by fresh loads too: luck may hold it."""
FRACTIONS = np.array([0.5, 0.9])
SCALE = 0.005
"""Of a median above the threshold: from about here on it is its sign that counts."""


class Loads:
    """Of one cell: which of its streams are suspects, and what whole loads since then gave."""

    def __init__(self, streams: int) -> None:
        self.now = 0
        """The newest load."""
        self._since: list[int | None] = [None] * streams
        """Load in which a stream became a suspect."""
        self._wanted = [LAPS] * streams
        self._laps: list[list[float]] = [[] for _ in range(streams)]
        """Of the newest load, as far as they count."""
        self._medians: list[list[float]] = [[] for _ in range(streams)]

    def add(self, load: int, d: Array) -> None:
        """One lap's log ratios by stream; loads are numbered in the order in which they begin."""
        if load != self.now:
            self._begin(load)
        for stream, value in enumerate(d.tolist()):
            if math.isfinite(value) and self.laps_wanted(stream, load):
                self._laps[stream].append(value)
                if len(self._laps[stream]) == self._wanted[stream]:
                    self._medians[stream].append(median(self._laps[stream]))

    def _begin(self, load: int) -> None:
        """What the last load gave counts if it had enough laps, though time ended it before the last."""
        for stream, laps in enumerate(self._laps):
            if LAPS <= len(laps) < self._wanted[stream]:
                self._medians[stream].append(median(laps))
        self.now = load
        self._laps = [[] for _ in self._laps]

    def suspect(self, stream: int) -> bool:
        return self._since[stream] is not None

    def raise_suspicion(self, stream: int, spread: float) -> None:
        """What counts begins with the next load; `spread` of d settles how many of its laps count."""
        if self._since[stream] is None:
            self._since[stream] = self.now
            needed = math.pi / 2 * (spread / FINE) ** 2  # variance of a median of normal noise
            self._wanted[stream] = round(min(max(needed, LAPS), MOST))

    def medians(self, stream: int) -> Array:
        """Of each whole load since the suspicion."""
        return np.array(self._medians[stream])

    def laps_wanted(self, stream: int, load: int) -> bool:
        """Whether the load is one that counts, and has not its laps yet."""
        since = self._since[stream]
        if since is None or load <= since:
            return False
        return load != self.now or len(self._laps[stream]) < self._wanted[stream]


class Evidence(NamedTuple):
    """log E of `worse by more than τ`, its largest so far and that of now; and the largest of `by less`."""

    beyond: float
    beyond_now: float
    within: float


def log_e(medians: Array, tau: float) -> Evidence:
    """What whole loads say, in their order."""
    if not len(medians):
        return Evidence(0.0, 0.0, 0.0)
    x = np.tanh((medians - tau) / SCALE)
    beyond, within = (np.log(np.cumprod(1 + g[:, None] * FRACTIONS, axis=0).mean(axis=1)) for g in (x, -x))
    return Evidence(float(beyond.max()), float(beyond[-1]), float(within.max()))
