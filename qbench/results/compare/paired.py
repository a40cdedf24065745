"""Changes of quality between two measurements of a cell on the same windows, with intervals.

A metric that is a mean over the windows of a text is paired by window: the bootstrap draws windows and adds
up the differences of the two sides' sums, see `results/stats/bootstrap.py`. KL divergence and top-1 agreement
are differences of means; a perplexity is the ratio exp(Σ (nll_b − nll_a) / Σ units). Percentiles, maxima and
root mean squares have no interval: the record holds no sums by window that they would be a mean of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from qbench.results.frames.base import APART, Scored, scored, unpacked
from qbench.results.stats.bootstrap import Kind, intervals
from qbench.results.store.lookup import number, probe
from qbench.results.store.record import Record

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
    """Metric → change, where both were scored on the same windows and the ratio is a finite number."""
    first, second = (scored(record, record.cell.id, {}) for record in (a, b))
    found = {name: change for name, change in _of_losses(a, b, first, second) if change is not None}
    return found | dict(_of_divergence(first, second))


def _of_losses(a: Record, b: Record, first: Scored, second: Scored) -> Iterator[tuple[str, Paired | None]]:
    """Changes of the metrics that are made of the log likelihood."""
    gaps = second.nll_above(first)
    if gaps is None:
        return
    ends = _ends(gaps, first.tokens, "difference")
    yield "perplexity", _exponential(ends)
    yield "nll_per_token", _change(ends)
    for unit in ("words", "bytes"):
        count, other = (number(probe(record, "perplexity").get(unit)) for record in (a, b))
        if not count or count != other:
            continue
        by_unit = ends * first.tokens.sum() / count
        yield f"{unit[:-1]}_perplexity", _exponential(by_unit)
        if unit == "bytes":
            yield "bits_per_byte", _change(by_unit / math.log(2))


def _of_divergence(first: Scored, second: Scored) -> Iterator[tuple[str, Paired]]:
    alike = first.scored_on == second.scored_on and first.scored == second.scored
    tokens = unpacked([first.scored])
    for name, sums, kind in APART:
        before, now = (unpacked([side.apart.get(sums, b"")]) for side in (first, second))
        if alike and len(before) == len(now) == len(tokens) > 0:
            yield name, _change(_ends(now - before, tokens, kind))


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
