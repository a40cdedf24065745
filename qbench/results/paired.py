"""Perplexity of one cell over that of another on the same windows, with an interval: see `statistics.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qbench.results.base import scored
from qbench.results.record import Record
from qbench.results.statistics import intervals


@dataclass(frozen=True)
class Paired:
    """A ratio and its 95 % interval, paired by window; the ends are None for one window."""

    ratio: float
    low: float | None
    high: float | None


def perplexity_ratio(a: Record, b: Record) -> Paired | None:
    """exp(Σ (nll_b − nll_a) / Σ tokens); None where the two were not scored on the very same windows, or it
    is too large for a number."""
    first, second = (scored(record, record.cell.id, {}) for record in (a, b))
    gaps = second.nll_above(first)
    if gaps is None:
        return None
    tokens = np.asarray(first.tokens, dtype=np.float64)
    ends = [float(end[0]) for end in intervals(gaps[None], tokens, "difference")]
    try:
        ratio, low, high = (None if math.isnan(end) else math.exp(end) for end in ends)
    except OverflowError:
        return None
    return None if ratio is None else Paired(ratio, low, high)
