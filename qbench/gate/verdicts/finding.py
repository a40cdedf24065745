"""`Finding`: what the gate says of one number of one cell. `GateResult`: all of them, and the exit code.

| Verdict     | It says                                                             | Gated, it ends in |
| ----------- | ------------------------------------------------------------------- | ----------------- |
| `same`      | certainly, or exactly, no worse than the threshold allows            | 0                 |
| `better`    | certainly, or exactly, better by the threshold or more               | 0                 |
| `worse`     | certainly, or exactly, worse by the threshold or more                | 1                 |
| `failed`    | the baseline has it, and the candidate's cell did not end well       | 1                 |
| `missing`   | the baseline has it, and the candidate lacks it                      | 1                 |
| `new`       | the baseline lacks it: nothing to compare with                       | 0                 |
| `undecided` | too few samples, or too much spread, for any of these                | 3                 |
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Verdict = Literal["same", "better", "worse", "undecided", "missing", "new", "failed"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
RED: frozenset[Verdict] = frozenset({"worse", "failed", "missing"})
"""What turns the gate red where it is gated."""
JUDGED: frozenset[Verdict] = frozenset({"same", "better", "worse", "failed", "missing"})
"""What says something; a result with none of these has compared nothing."""
FINE, REGRESSION, USAGE, UNDECIDED = 0, 1, 2, 3
"""Exit codes. USAGE: the command, the suite, a baseline that cannot be read, or another environment."""


@dataclass(frozen=True)
class Finding:
    """One metric of one cell; or its `status`, its `kernels`, its `codes`, for what is no number."""

    cell_id: str
    cell: str
    """In words: `austen-6m int4 bf16 cpu`."""
    metric: str
    verdict: Verdict
    gated: bool
    """False: shown, and without weight for the exit code."""
    reason: str
    """One sentence."""
    baseline: float | str | None = None
    candidate: float | str | None = None
    change: float | None = None
    """Candidate over baseline; where the metric's threshold is a difference, candidate minus baseline."""
    low: float | None = None
    """Ends of the interval of `change`; None where it has none, as a number that is the same each time."""
    high: float | None = None
    threshold: float | None = None
    """A factor, or a difference; what counts as a change. In the direction that is worse, always."""
    p: float | None = None
    """Of `worse`, after correction for the whole family: at most alpha where the verdict is `worse`."""
    samples: int | None = None
    """Laps or rounds behind it."""

    @property
    def red(self) -> bool:
        return self.gated and self.verdict in RED

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class GateResult:
    """Everything that one gate found."""

    suite: str
    findings: tuple[Finding, ...] = ()
    against: str = ""
    """What the candidate was compared with, in words: a baseline's file, or a version."""
    environment: tuple[str, ...] = ()
    """What differs between the two sides, a line each."""
    accepted: tuple[str, ...] = ()
    """Facts that differ and were accepted to."""
    notes: tuple[str, ...] = ()
    """What a reader must know of how the two sides came to be."""
    refused: str | None = None
    """Why nothing was compared though there was something to compare: the environments differ."""
    nothing: str | None = None
    """Why nothing was measured, where that is so."""
    alpha: float = 0.05
    correction: str = "holm"
    budget_s: float | None = None
    """Seconds that sampling might take; None where nothing was sampled."""
    spent_s: float | None = None
    laps: int | None = None
    """Most laps that any cell took."""
    unkept: str | None = None
    """Why the records that were asked for are not there; the verdict stands without them."""

    @property
    def exit_code(self) -> int:
        """2 refused; else 1 a regression; else 3 undecided, or nothing compared; else 0."""
        if self.refused is not None:
            return USAGE
        gated = [finding for finding in self.findings if finding.gated]
        if any(finding.red for finding in gated):
            return REGRESSION
        undecided = any(finding.verdict == "undecided" for finding in gated)
        compared = any(finding.verdict in JUDGED for finding in gated)
        return UNDECIDED if undecided or self.nothing is not None or not compared else FINE

    @property
    def counts(self) -> dict[Verdict, int]:
        """Gated findings by verdict, in the order of the table above; none that is zero."""
        found = Counter(finding.verdict for finding in self.findings if finding.gated)
        return {verdict: found[verdict] for verdict in VERDICTS if found[verdict]}

    @property
    def verdict(self) -> str:
        """One line: `regression: 1 worse (118 same, 1 new)`."""
        if self.refused is not None:
            return f"refused: {self.refused}"
        counts = self.counts
        red = {verdict: count for verdict, count in counts.items() if verdict in RED}
        if red:
            rest = {verdict: count for verdict, count in counts.items() if verdict not in RED}
            return f"regression: {_listed(red)}" + (f" ({_listed(rest)})" if rest else "")
        if self.exit_code == UNDECIDED and not counts.get("undecided"):
            return f"nothing measured: {self.nothing or 'no gated number was on both sides'}"
        return f"{'undecided' if self.exit_code else 'fine'}: {_listed(counts)}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"exit_code": self.exit_code, "verdict": self.verdict, "counts": self.counts, **asdict(self)}


def _listed(counts: dict[Verdict, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
