"""The sentence of a finding on a timed comparison."""

from __future__ import annotations

from qbench.gate.report.words import change, threshold
from qbench.gate.verdicts.finding import Finding


def sentence(
    found: Finding, ended: str, starts: int | None, same_by_starts: bool, broken: tuple[int, float | None]
) -> str:
    """The reason of the verdict, and the values that no clock gives.

    `ended`: end of the sampling, or of a failed cell. `starts`: process starts that gave a median; None where
    blocks alone decide. `same_by_starts`: they show `same`. `broken`: number of values that no clock gives,
    and the first of them.
    """
    count, value = broken
    said = _reason(found, ended, starts, same_by_starts)
    if value is None:
        return said
    return f"{said}; left out {count} numbers that no clock gives, such as {value:g}: its clock jumps"


def _reason(found: Finding, ended: str, starts: int | None, same_by_starts: bool) -> str:
    blocks = f"{found.samples} paired rounds"
    if found.verdict == "failed":
        return ended or "the candidate's cell failed"
    if found.verdict == "missing":
        return f"the candidate gave no {found.metric} in {blocks}, and the baseline did"
    if found.verdict == "new":
        return f"the baseline gave no {found.metric} in {blocks}"
    if found.change is None:
        return f"no pair of rounds has a number on both sides; {ended}"
    said, limit = f"{change(found)} over {blocks}", f"the threshold of {threshold(found)}"
    pairs = f"{starts} fresh pair{'' if starts == 1 else 's'} of processes"
    if found.verdict == "worse":
        by = "" if starts is None else f" by {pairs}"
        return f"{said}: beyond {limit}{by} (p = {found.p:.1g}, corrected for all comparisons)"
    if found.verdict == "better":
        return f"{said}: better by the threshold or more, in the processes that ran"
    if found.verdict == "same":
        if starts is not None and same_by_starts:
            return f"{said}: within {limit} by {pairs}"
        return f"{said}: within {'' if starts is None else 'half of '}{limit}, in the processes that ran"
    after = "" if starts is None else f", after {pairs}"
    return f"{said}: neither within nor beyond {limit} for certain{after}; {ended}"
