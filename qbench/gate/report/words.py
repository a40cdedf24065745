"""Parts common to all outputs of a gate: the order of findings, numbers in words, and sanitized text.

Names and reasons may hold anything, another format's markup too. `plain` leaves one line of printable
characters; each output then escapes the characters that its own format gives a meaning.
"""

from __future__ import annotations

from collections.abc import Iterable

from qbench.gate.verdicts.finding import Finding, GateResult, Verdict
from qbench.gate.verdicts.numbers import shown
from qbench.report.text.sanitize import plain
from qbench.results.table.metrics import METRICS

ORDER: tuple[Verdict, ...] = ("failed", "missing", "worse", "undecided", "better", "new", "same")
"""Worst first."""
MOST_OF_ALL = 10_000
"""Most characters of the reason of a refusal, which lists all facts that differ."""


def whole(text: object) -> str:
    """Sanitized text that a gate says once, long enough for a refusal with the option at its end."""
    return plain(text, MOST_OF_ALL)


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """Findings in order: gated ones first, worst first, then by the size of the change."""
    return sorted(findings, key=lambda one: (not one.gated, ORDER.index(one.verdict), -excess(one)))


def excess(finding: Finding) -> float:
    """Size of the change in the direction that is worse; 0 where there is no number."""
    if finding.change is None:
        return 0.0
    metric = METRICS.get(finding.metric)
    gain = finding.change if _by_difference(finding) else finding.change - 1
    return -gain if metric is not None and metric.direction == "higher" else gain


def change(finding: Finding) -> str:
    """`+5.2 %`, or as a difference `+0.004`; a dash without one."""
    return "–" if finding.change is None else shown(finding.change, not _by_difference(finding))


def interval(finding: Finding) -> str:
    """`+4.1 to +6.3 %`; empty for a number that has none."""
    if finding.low is None and finding.high is None:
        return ""
    ends = (finding.low, finding.high)
    return " to ".join("?" if end is None else shown(end, not _by_difference(finding)) for end in ends)


def threshold(finding: Finding) -> str:
    """The threshold in the direction in which the metric gets worse; empty where there is none."""
    if finding.threshold is None:
        return ""
    metric = METRICS.get(finding.metric)
    falls = metric is not None and metric.direction == "higher"
    if _by_difference(finding):
        return f"{-finding.threshold if falls else finding.threshold:+.3g}"
    return shown(1 / finding.threshold if falls else finding.threshold, True)


def values(finding: Finding) -> str:
    """`1.21 ms → 1.27 ms`; empty where neither side has one."""
    if finding.baseline is None and finding.candidate is None:
        return ""
    return f"{value(finding, finding.baseline)} → {value(finding, finding.candidate)}"


def value(finding: Finding, found: float | str | None) -> str:
    """A value with its unit, to four digits; a dash for none."""
    if found is None:
        return "–"
    if isinstance(found, str):
        return plain(found, 80)
    metric = METRICS.get(finding.metric)
    unit = metric.unit if metric is not None else ""
    if unit == "s" and abs(found) < 1:
        return f"{found * 1e3:.4g} ms"
    number = f"{found:.0f}" if unit == "B" else f"{found:.6g}"
    return f"{number} {unit}".strip()


def figures(finding: Finding) -> str:
    """`1.21 ms → 1.27 ms, +5.2 % (+4.1 to +6.3 %), threshold +3 %`; parts that are unknown are left out."""
    parts = [values(finding)]
    if finding.change is not None:
        between = interval(finding)
        parts.append(change(finding) + (f" ({between})" if between else ""))
    if limit := threshold(finding):
        parts.append(f"threshold {limit}")
    return ", ".join(part for part in parts if part)


def sides(result: GateResult) -> str:
    """`suite quickstart against main (0a1b2c3d4e5f)`."""
    return plain(f"suite {result.suite}" + (f" against {result.against}" if result.against else ""))


def effort(result: GateResult) -> str:
    """`93 s of a budget of 300 s, at most 41 paired rounds a cell`; empty where nothing was sampled."""
    if result.spent_s is None:
        return ""
    budget = f" of a budget of {result.budget_s:g} s" if result.budget_s is not None else ""
    blocks = f", at most {result.laps} paired rounds a cell" if result.laps else ""
    return f"{result.spent_s:.0f} s{budget}{blocks}"


def _by_difference(finding: Finding) -> bool:
    metric = METRICS.get(finding.metric)
    return metric is not None and metric.gate is not None and metric.gate.by == "difference"
