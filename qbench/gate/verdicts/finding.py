"""`Finding`: the verdict on one number of one cell. `GateResult`: all findings, and the exit code.

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
from typing import Literal, get_args

from qbench.json_object import JsonObject

Verdict = Literal["same", "better", "worse", "undecided", "missing", "new", "failed"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
RED: frozenset[Verdict] = frozenset({"worse", "failed", "missing"})
"""Verdicts that turn the gate red where they are gated."""
CONCLUSIVE: frozenset[Verdict] = frozenset({"same", "better", "worse", "failed", "missing"})
"""Verdicts that compared something; a result with none of them has compared nothing."""
FINE, REGRESSION, USAGE, UNDECIDED = 0, 1, 2, 3
"""Exit codes. USAGE: the command, the suite, a baseline that cannot be read, or another environment."""


@dataclass(frozen=True)
class Finding:
    """Verdict on one metric of one cell, or on its `status`, `kernels` or `codes`, which are no numbers."""

    cell_id: str
    cell: str
    """The cell in words: `austen-6m int4 bf16 cpu`."""
    metric: str
    verdict: Verdict
    gated: bool
    """False: shown, and ignored by the exit code."""
    reason: str
    """One sentence."""
    baseline: float | str | None = None
    candidate: float | str | None = None
    change: float | None = None
    """Candidate over baseline; where the metric's threshold is a difference, candidate minus baseline."""
    low: float | None = None
    """Ends of the interval of `change`; None where there is none, as of a deterministic number."""
    high: float | None = None
    threshold: float | None = None
    """Factor or difference from which on a change counts, in the direction that is worse."""
    p: float | None = None
    """P-value of `worse`, corrected for all comparisons: at most alpha where the verdict is `worse`."""
    samples: int | None = None
    """Number of paired or single rounds behind the verdict."""

    @property
    def red(self) -> bool:
        return self.gated and self.verdict in RED

    def to_dict(self) -> JsonObject:
        return asdict(self)


@dataclass(frozen=True)
class GateResult:
    """All findings of one gate."""

    suite: str
    findings: tuple[Finding, ...] = ()
    against: str = ""
    """The baseline in words: its file, or a version."""
    environment: tuple[str, ...] = ()
    """Facts that differ between the two sides, a line each."""
    accepted: tuple[str, ...] = ()
    """Facts that differ and were accepted."""
    notes: tuple[str, ...] = ()
    """Remarks on how the two sides were made."""
    refused: str | None = None
    """Reason why two measured sides were not compared: the environments differ."""
    nothing: str | None = None
    """Reason why nothing was measured."""
    alpha: float = 0.05
    correction: str = "holm"
    budget_s: float | None = None
    """Most seconds of sampling; None where nothing was sampled."""
    spent_s: float | None = None
    laps: int | None = None
    """Largest number of blocks of paired rounds of any cell; the name is that of the JSON key."""
    unkept: str | None = None
    """Reason why the records that `--keep` asked for are not there; the verdict stands without them."""

    @property
    def exit_code(self) -> int:
        """2 refused; else 1 a regression; else 3 undecided, or nothing compared; else 0."""
        if self.refused is not None:
            return USAGE
        gated = [finding for finding in self.findings if finding.gated]
        if any(finding.red for finding in gated):
            return REGRESSION
        undecided = any(finding.verdict == "undecided" for finding in gated)
        compared = any(finding.verdict in CONCLUSIVE for finding in gated)
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

    def to_dict(self) -> JsonObject:
        """The result as JSON values."""
        return {"exit_code": self.exit_code, "verdict": self.verdict, "counts": self.counts, **asdict(self)}


def _listed(counts: dict[Verdict, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
