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

from typing import NamedTuple

import numpy as np

from qbench.results.gate.betting import Array

LAPS = 8
"""Laps of a load that count, fixed beforehand: the median of the first so many."""
FRACTIONS = np.array([0.5, 0.9])
SCALE = 0.005
"""Of a median above the threshold: from about here on it is its sign that counts."""


class Loads:
    """The laps of one cell, load by load."""

    def __init__(self, streams: int) -> None:
        self._laps: dict[int, list[Array]] = {}
        self._suspect_since: list[int | None] = [None] * streams
        self.now = 0

    def add(self, load: int, d: Array) -> None:
        """One lap's log ratios by stream; loads are numbered as they begin."""
        self.now = load
        self._laps.setdefault(load, []).append(d)

    def suspect(self, stream: int) -> bool:
        return self._suspect_since[stream] is not None

    def raise_suspicion(self, stream: int) -> None:
        """What counts begins with the next load."""
        if self._suspect_since[stream] is None:
            self._suspect_since[stream] = self.now

    def medians(self, stream: int) -> Array:
        """Of each whole load since the suspicion."""
        since = self._suspect_since[stream]
        if since is None:
            return np.empty(0)
        rows = [self._finite(load, stream)[:LAPS] for load in self._laps if load > since]
        return np.array([float(np.median(row)) for row in rows if len(row) == LAPS])

    def laps_wanted(self, stream: int, load: int) -> bool:
        """Whether the load is one that counts, and has not its laps yet."""
        since = self._suspect_since[stream]
        return since is not None and load > since and len(self._finite(load, stream)) < LAPS

    def _finite(self, load: int, stream: int) -> list[float]:
        return [float(row[stream]) for row in self._laps.get(load, ()) if np.isfinite(row[stream])]


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
