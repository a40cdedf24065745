"""Text output of `qbench gate`: a line for each finding, worst first, then counts, then the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from qbench.gate.report.words import effort, figures, ranked, sides, whole
from qbench.gate.verdicts.finding import Finding, GateResult
from qbench.report.text.sanitize import plain

QUIET = frozenset({"same"})
"""Verdicts that are only counted."""


def text(result: GateResult, every: bool = False) -> str:
    """All lines; with `every` also findings that are `same`, and those that are shown and not gated."""
    return "\n".join(_lines(result, every))


def line(finding: Finding) -> str:
    """`worse      austen-6m int4 bf16 cpu: decode_s_per_token: 1.21 ms → 1.27 ms, …`."""
    said = figures(finding)
    told = finding.change is not None and finding.verdict in ("worse", "better", "same")
    reason = "" if told else plain(finding.reason)
    shown = "" if finding.gated else " (shown, not gated)"
    parts = [plain(finding.cell), plain(finding.metric), said, reason]
    return f"{finding.verdict:9} {': '.join(part for part in parts if part)}{shown}"


def _lines(result: GateResult, every: bool) -> Iterator[str]:
    yield f"gate: {sides(result)}"
    for note in result.notes:
        yield f"  note: {whole(note)}"
    for fact in result.environment:
        yield f"  differs: {whole(fact)}"
    for fact in result.accepted:
        yield f"  accepted: {whole(fact)}"
    listed = [one for one in ranked(result.findings) if every or (one.gated and one.verdict not in QUIET)]
    yield from (line(one) for one in listed)
    rest = Counter(one.verdict for one in result.findings if not one.gated)
    if rest and not every:
        said = ", ".join(f"{count} {name}" for name, count in rest.items())
        yield f"shown, not gated: {said} (--all lists them)"
    if said := effort(result):
        yield f"timed: {said}"
    yield f"gate {whole(result.verdict)}"
