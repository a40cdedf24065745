"""A judged comparison as a `Finding`, with its one sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbench.gate.timing.e_values import Array
from qbench.gate.verdicts.finding import Finding, Verdict
from qbench.results.table.metrics import METRICS


@dataclass(frozen=True)
class Judged:
    """A timed comparison and what came of it."""

    cell_id: str
    cell: str
    metric: str
    verdict: Verdict
    threshold: float
    p: float
    change: tuple[float, float | None, float | None] | None
    """Candidate over baseline and its family-wise interval."""
    sides: tuple[Array, Array]
    """Values by lap of baseline and candidate; NaN where there is none."""
    broken: tuple[int, float | None]
    """How many values no clock gives, and the first of them."""
    failed: str | None
    ended: str
    loads: int | None = None
    """Whole loads; None where laps alone decide."""
    by_loads: bool = False
    """Whether they say `same`."""


def finding_of(judged: Judged) -> Finding:
    medians = [_median(values) for values in judged.sides]
    change, low, high = judged.change or (None, None, None)
    return Finding(
        cell_id=judged.cell_id,
        cell=judged.cell,
        metric=judged.metric,
        verdict=judged.verdict,
        gated=judged.verdict != "new",
        reason=_reason(judged) + _clock(judged),
        baseline=medians[0],
        candidate=medians[1],
        change=change,
        low=low,
        high=high,
        threshold=judged.threshold,
        p=judged.p,
        samples=len(judged.sides[0]),
    )


def percent(factor: float) -> str:
    """`+5.2 %` for 1.052."""
    return f"{100 * (factor - 1):+.3g} %"


def worse_by(metric: str, factor: float) -> str:
    """The factor in the metric's own direction: `+3 %` of seconds, `−2.91 %` of tokens per second."""
    return percent(1 / factor if METRICS[metric].direction == "higher" else factor)


def _reason(judged: Judged) -> str:
    laps = len(judged.sides[0])
    if judged.verdict == "failed":
        return judged.failed or "the candidate's cell failed"
    if judged.verdict == "missing":
        return f"the candidate gave no {judged.metric} in {laps} laps, and the baseline did"
    if judged.verdict == "new":
        return f"the baseline gave no {judged.metric} in {laps} laps"
    if judged.change is None:
        return f"no lap has a number on both sides; {judged.ended}"
    said = f"{percent(judged.change[0])} over {laps} laps"
    limit = f"the threshold of {worse_by(judged.metric, judged.threshold)}"
    if judged.verdict == "worse":
        by = "" if judged.loads is None else f" by {_pairs(judged.loads)}"
        return f"{said}: beyond {limit}{by} (p = {judged.p:.1g}, corrected for the family)"
    if judged.verdict == "better":
        return f"{said}: better by the threshold or more, in the processes that ran"
    if judged.verdict == "same":
        return f"{said}: {_same(judged, limit)}"
    loads = "" if judged.loads is None else f", after {_pairs(judged.loads)}"
    return f"{said}: neither within nor beyond {limit} for certain{loads}; {judged.ended}"


def _same(judged: Judged, limit: str) -> str:
    if judged.loads is not None and judged.by_loads:
        return f"within {limit} by {_pairs(judged.loads)}"
    margin = "" if judged.loads is None else "half of "
    return f"within {margin}{limit}, in the processes that ran"


def _pairs(loads: int) -> str:
    return f"{loads} fresh pair{'' if loads == 1 else 's'} of processes"


def _clock(judged: Judged) -> str:
    count, value = judged.broken
    if not count:
        return ""
    return f"; left out {count} numbers that no clock gives, such as {value:g}: the machine's clock jumps"


def _median(values: Array) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None
