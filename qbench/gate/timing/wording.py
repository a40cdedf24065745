"""`TimedVerdict`: a timed comparison with its verdict, and the `Finding` with its sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbench.gate.timing.e_values import Array
from qbench.gate.verdicts.finding import Finding, Verdict
from qbench.results.table.metrics import METRICS


@dataclass(frozen=True)
class TimedVerdict:
    """A timed comparison, its verdict and the numbers behind it."""

    cell_id: str
    cell: str
    metric: str
    verdict: Verdict
    threshold: float
    p: float
    change: tuple[float, float | None, float | None] | None
    """Candidate over baseline, and the interval that holds for all comparisons at once."""
    sides: tuple[Array, Array]
    """Values by block of baseline and candidate; NaN where there is none."""
    broken: tuple[int, float | None]
    """Number of values that no clock gives, and the first of them."""
    failed: str | None
    ended: str
    starts: int | None = None
    """Process starts that gave a median; None where blocks alone decide."""
    same_by_starts: bool = False
    """True where they show `same`."""


def finding_of(found: TimedVerdict) -> Finding:
    """The comparison as the gate reports it."""
    medians = [_median(values) for values in found.sides]
    change, low, high = found.change or (None, None, None)
    return Finding(
        cell_id=found.cell_id,
        cell=found.cell,
        metric=found.metric,
        verdict=found.verdict,
        gated=found.verdict != "new",
        reason=_reason(found) + _clock(found),
        baseline=medians[0],
        candidate=medians[1],
        change=change,
        low=low,
        high=high,
        threshold=found.threshold,
        p=found.p,
        samples=len(found.sides[0]),
    )


def percent(factor: float) -> str:
    """`+5.2 %` for 1.052."""
    return f"{100 * (factor - 1):+.3g} %"


def worse_by(metric: str, factor: float) -> str:
    """The factor as a change for the worse: `+3 %` of seconds, `−2.91 %` of tokens per second."""
    return percent(1 / factor if METRICS[metric].direction == "higher" else factor)


def _reason(found: TimedVerdict) -> str:
    blocks = f"{len(found.sides[0])} paired rounds"
    if found.verdict == "failed":
        return found.failed or "the candidate's cell failed"
    if found.verdict == "missing":
        return f"the candidate gave no {found.metric} in {blocks}, and the baseline did"
    if found.verdict == "new":
        return f"the baseline gave no {found.metric} in {blocks}"
    if found.change is None:
        return f"no pair of rounds has a number on both sides; {found.ended}"
    said = f"{percent(found.change[0])} over {blocks}"
    limit = f"the threshold of {worse_by(found.metric, found.threshold)}"
    if found.verdict == "worse":
        by = "" if found.starts is None else f" by {_pairs(found.starts)}"
        return f"{said}: beyond {limit}{by} (p = {found.p:.1g}, corrected for all comparisons)"
    if found.verdict == "better":
        return f"{said}: better by the threshold or more, in the processes that ran"
    if found.verdict == "same":
        return f"{said}: {_same(found, limit)}"
    starts = "" if found.starts is None else f", after {_pairs(found.starts)}"
    return f"{said}: neither within nor beyond {limit} for certain{starts}; {found.ended}"


def _same(found: TimedVerdict, limit: str) -> str:
    if found.starts is not None and found.same_by_starts:
        return f"within {limit} by {_pairs(found.starts)}"
    margin = "" if found.starts is None else "half of "
    return f"within {margin}{limit}, in the processes that ran"


def _pairs(starts: int) -> str:
    return f"{starts} fresh pair{'' if starts == 1 else 's'} of processes"


def _clock(found: TimedVerdict) -> str:
    count, value = found.broken
    if not count:
        return ""
    return f"; left out {count} numbers that no clock gives, such as {value:g}: its clock jumps"


def _median(values: Array) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None
