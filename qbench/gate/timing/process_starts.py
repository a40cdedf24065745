"""E-values of process starts: each start of both processes is one observation, the median of its blocks.

Two processes of the very same code can differ for as long as they live: by their memory layout, and by the
pages and the core that they got (Mytkowicz and others 2009, "Producing wrong data without doing anything
obviously wrong"). Blocks of one pair of processes all share that difference and cannot tell it from a
regression. So no number of blocks of one pair of processes calls anything worse.

**The null.** H(θ₀): *whichever of the two processes of a start is the candidate's, it would take at most
e^θ₀ times what the baseline would take in that process, block and place.* Which process is the candidate's is
random: both are started the same way, in an order that is drawn. Exchanging them turns the sign of d − θ₀ in
every block of the start at once, and with it that of the median m. So E[g((m − θ₀)/s) | all starts before, of
every cell] = 0 for an odd g, at most 0 where the candidate takes less, and the product over starts is a
supermartingale as in `e_values`.

The number of blocks behind a median is settled by what the exchange does not change: by the spread of earlier
starts, in the first start by its own (a deviation from its median), and by the time that is left. Which cells
are started again, and when a cell has no more starts, may depend on everything that is past: every factor has
an expectation of at most 1 all the same, and 1 / (largest E) is a p-value for each comparison by itself.
Holm's correction needs no more than that.
"""

from __future__ import annotations

import math
from statistics import median
from typing import NamedTuple

import numpy as np

from qbench.gate.timing.e_values import Array, deviation

FEWEST_BLOCKS, MOST_BLOCKS = 8, 32
"""Fewest blocks for a start to count, and most that do: noise asks for more for the same accuracy."""
TARGET_ERROR = 0.025
"""Standard error that the median of a start is meant to have, of a log ratio."""
FRACTIONS = np.array([0.6, 0.97])
LEAST_SCALE = 0.005
"""Lower bound of the scale of a median above the threshold, which else is its standard error."""

_ERROR = math.sqrt(math.pi / 2)
"""Standard error of the median of n normal numbers, times √n."""


class Evidence(NamedTuple):
    """log E of `worse by more than τ`, its largest so far and that of now; and the largest of `by less`."""

    beyond: float = 0.0
    beyond_now: float = 0.0
    within: float = 0.0


class ProcessStarts:
    """The process starts of one cell, and the evidence of each of its streams."""

    def __init__(self, tau: Array) -> None:
        """`tau`: log of the threshold by stream."""
        self.now = -1
        """The newest start; they are numbered from 0 or 1 on in the order in which they begin."""
        self.evidence = [Evidence() for _ in tau]
        self._tau = tau.tolist()
        self._wanted: list[int | None] = [None] * len(tau)
        """Blocks that make a median; None: not known yet."""
        self._blocks: list[list[float]] = [[] for _ in tau]
        """Log ratios of the newest start, as far as they count."""
        self._medians: list[list[float]] = [[] for _ in tau]
        self._scales: list[list[float]] = [[] for _ in tau]
        self._spread = [math.nan] * len(tau)

    def add(self, start: int, d: list[float], spread: Array) -> bool:
        """Takes one block's log ratios by stream, and the spread of d before this block.

        Returns whether the evidence has changed.
        """
        changed = start != self.now and self._begin(start, spread)
        for stream, value in enumerate(d):
            if self.wants(stream, start) and math.isfinite(value):
                changed |= self._take(stream, value)
        return changed

    def wants(self, stream: int, start: int) -> bool:
        """True until the start has given the median of this stream."""
        wanted = self._wanted[stream]
        return start != self.now or wanted is None or len(self._blocks[stream]) < wanted

    def count(self, stream: int) -> int:
        """Number of starts that gave a median."""
        return len(self._medians[stream])

    def medians(self, stream: int) -> Array:
        """Median of each start that gave one."""
        return np.array(self._medians[stream])

    def scales(self, stream: int) -> Array:
        """Scales that the medians are divided by."""
        return np.array(self._scales[stream])

    def _take(self, stream: int, value: float) -> bool:
        blocks = self._blocks[stream]
        blocks.append(value)
        if self._wanted[stream] is None and len(blocks) == FEWEST_BLOCKS:
            self._spread[stream] = deviation(np.array(blocks))
            self._wanted[stream] = _needed(self._spread[stream])
        return len(blocks) == self._wanted[stream] and self._close(stream)

    def _close(self, stream: int) -> bool:
        blocks = self._blocks[stream]
        self._medians[stream].append(median(blocks))
        self._scales[stream].append(max(_ERROR * self._spread[stream] / math.sqrt(len(blocks)), LEAST_SCALE))
        self.evidence[stream] = log_e(self.medians(stream), self.scales(stream), self._tau[stream])
        return True

    def _begin(self, start: int, spread: Array) -> bool:
        """The last start counts if it had enough blocks, though time ended it before the last."""
        changed = False
        for stream, blocks in enumerate(self._blocks):
            if FEWEST_BLOCKS <= len(blocks) < (self._wanted[stream] or 0):
                changed = self._close(stream)
        if self.now >= 0:
            self._spread = spread.tolist()
            self._wanted = [_needed(one) for one in self._spread]
        self.now, self._blocks = start, [[] for _ in self._blocks]
        return changed


def _needed(spread: float) -> int:
    """Blocks for a median with the error `TARGET_ERROR`, of normal noise."""
    return round(min(max((_ERROR * spread / TARGET_ERROR) ** 2, FEWEST_BLOCKS), MOST_BLOCKS))


def log_e(medians: Array, scales: Array, tau: float) -> Evidence:
    """Evidence of the starts, given in their order."""
    if not len(medians):
        return Evidence()
    x = np.tanh((medians - tau) / scales)
    beyond, within = (np.log(np.cumprod(1 + g[:, None] * FRACTIONS, axis=0).mean(axis=1)) for g in (x, -x))
    most = [max(0.0, float(one.max())) for one in (beyond, within)]
    return Evidence(most[0], float(beyond[-1]), most[1])
