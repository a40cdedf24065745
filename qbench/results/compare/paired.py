"""Changes of quality between two measurements of a cell on the same windows, with intervals.

A metric that is a mean over the windows of a text is paired by window: the bootstrap draws windows and adds
up the differences of the two sides' sums, see `results/stats/bootstrap.py`. KL divergence and top-1 agreement
are differences of means; a perplexity is the ratio exp(Σ (nll_b − nll_a) / Σ units). Percentiles, maxima and
root mean squares have no interval: the record holds no sums by window that they would be a mean of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from qbench.results.columns.metric import ByWindow
from qbench.results.frames.base import windows_of
from qbench.results.stats.bootstrap import Kind, intervals
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS

if TYPE_CHECKING:
    from qbench.results.stats.bootstrap import Array

By = Literal["ratio", "difference"]


@dataclass(frozen=True)
class Paired:
    """B against A and its 95 % interval, paired by window; the ends are None for one window."""

    by: By
    """B over A, or B less A in the metric's unit."""
    value: float
    low: float | None
    high: float | None

    @property
    def none(self) -> float:
        """The value of no change."""
        return 1.0 if self.by == "ratio" else 0.0


def paired(a: Record, b: Record) -> dict[str, Paired]:
    """By metric; without those that the two were not scored for on the very same windows, or whose ratio is
    too large for a number."""
    found = {
        name: _of(metric.by_window, a, b) for name, metric in METRICS.items() if metric.by_window is not None
    }
    return {name: change for name, change in found.items() if change is not None}


def _of(declared: ByWindow, a: Record, b: Record) -> Paired | None:
    before, now = windows_of(a, declared), windows_of(b, declared)
    gaps = now.above(before)
    if gaps is None:
        return None
    ends = _ends(gaps, now.weights, declared.paired_correlation)
    if declared.units is not None:
        count, other = declared.units(a), declared.units(b)
        if not count or count != other:
            return None
        ends = ends * before.weights.sum() / count
    if declared.per_bit:
        ends = ends / math.log(2)
    return _exponential(ends) if declared.exponential else _change(ends)


def _ends(gaps: Array, tokens: Array, kind: Kind) -> Array:
    """Estimate, low and high; the ends are NaN for one window."""
    if len(gaps) > 1 and not gaps.any():
        return np.zeros(3)  # as the bootstrap would find, and most cells of most comparisons are equal
    return np.asarray([end[0] for end in intervals(gaps[None], tokens, kind)])


def _change(ends: Array) -> Paired:
    value, low, high = (None if math.isnan(end) else float(end) for end in ends)
    assert value is not None, "sums that are not finite are left out before"
    return Paired("difference", value, low, high)


def _exponential(ends: Array) -> Paired | None:
    try:
        value, low, high = (None if math.isnan(end) else math.exp(end) for end in ends)
    except OverflowError:
        return None
    return None if value is None else Paired("ratio", value, low, high)
