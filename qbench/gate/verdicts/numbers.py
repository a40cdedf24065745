"""Verdict on one deterministic number: its change, compared with a threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from qbench.gate.baseline.baseline_cell import BaselineCell, gate_of
from qbench.gate.verdicts.finding import Finding, Verdict
from qbench.results.stats.bootstrap import intervals
from qbench.results.table.columns import columns

SLACK = 1e-9
"""Relative slack of a threshold for rounding: 1.005·x over x need not be 1.005 in floating point."""

Cells = Mapping[str, BaselineCell]
"""Cells of one side by cell id."""


def judge(
    metric: str, before: BaselineCell, now: BaselineCell, threshold: float | None, sides: tuple[Cells, Cells]
) -> Finding:
    """Finding on a metric that both sides have; without a threshold it is shown, not gated."""
    a, b = before.values[metric], now.values[metric]
    known = gate_of(metric)
    by_factor = known is None or known.by == "factor"
    change = _change(a, b, by_factor)
    low, high = _interval(metric, before, now, sides) or (None, None)
    worse = change if _lower_is_better(metric) else _inverse(change, by_factor)
    verdict, reason = _verdict(a == b, worse, change, threshold, by_factor)
    return Finding(
        before.cell_id, now.cell, metric, verdict, threshold is not None, reason,
        baseline=a, candidate=b, change=change if math.isfinite(change) else None, low=low, high=high,
        threshold=threshold,
    )  # fmt: skip


def shown(change: float, by_factor: bool) -> str:
    """`+0.5 %`, or `+0.0021`."""
    return f"{100 * (change - 1):+.3g} %" if by_factor else f"{change:+.3g}"


def _verdict(
    equal: bool, worse: float, change: float, threshold: float | None, by_factor: bool
) -> tuple[Verdict, str]:
    """`worse` is the change in the direction that is worse."""
    if equal:
        return "same", "the very same number"
    said = f"changed by {shown(change, by_factor)}"
    if threshold is None:
        verdict: Verdict = "worse" if worse > (1.0 if by_factor else 0.0) else "better"
        return verdict, f"{said}; it has no threshold"
    limit = shown(threshold, by_factor)
    if _at_least(worse, threshold, by_factor):
        return "worse", f"{said}: worse by the threshold of {limit} or more"
    if _at_least(_inverse(worse, by_factor), threshold, by_factor):
        return "better", f"{said}: better by the threshold of {limit} or more"
    return "same", f"{said}, below the threshold of {limit}"


def _at_least(change: float, threshold: float, by_factor: bool) -> bool:
    """True at the threshold and beyond; with a threshold of no change, for every change for the worse."""
    none = 1.0 if by_factor else 0.0
    slack = SLACK * (threshold - none)
    return change > none and change >= threshold - slack


def _change(a: float, b: float, by_factor: bool) -> float:
    """Candidate over baseline, or their difference; infinite for a factor from zero to another number."""
    if not by_factor:
        return b - a
    if a == b:
        return 1.0
    return b / a if a else math.inf


def _inverse(change: float, by_factor: bool) -> float:
    if not by_factor:
        return -change
    return 1 / change if change else math.inf


def _lower_is_better(metric: str) -> bool:
    known = columns().get(metric)  # a baseline may hold a metric of a package that is not installed here
    return known is None or known.direction != "higher"


def _interval(
    metric: str, before: BaselineCell, now: BaselineCell, sides: tuple[Cells, Cells]
) -> tuple[float, float] | None:
    """95 % interval of the change of a perplexity over other windows of such text, paired by window."""
    change = _nll(before, now)
    if change is None or metric not in ("perplexity", "perplexity_ratio"):
        return None
    if metric == "perplexity_ratio":
        bases = [side.get(kept.base or "") for side, kept in zip(sides, (before, now), strict=True)]
        of_base = _nll(*bases) if all(bases) else None  # type: ignore[arg-type]
        if of_base is None or len(of_base) != len(change):
            return None
        change = change - of_base
    tokens = np.asarray(now.tokens, dtype=np.float64)
    _, low, high = intervals(change[None], tokens, "difference")
    ends = float(np.exp(low[0])), float(np.exp(high[0]))
    return ends if all(map(math.isfinite, ends)) else None


def _nll(before: BaselineCell, now: BaselineCell) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """Difference of the losses by window, in nat; None where the windows differ."""
    if not before.nll or before.windows != now.windows or len(before.nll) != len(now.nll):
        return None
    return np.asarray(now.nll, dtype=np.float64) - np.asarray(before.nll, dtype=np.float64)
