"""Findings on a run against a stored baseline: deterministic values gated, timed ones shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from qbench.gate.baseline.baseline import Baseline
from qbench.gate.baseline.baseline_cell import BaselineCell, baseline_cells
from qbench.gate.verdicts.exact import exact_findings
from qbench.gate.verdicts.finding import Finding, GateResult, Verdict
from qbench.gate.verdicts.limits import PEAKS, Limits, check_overrides, limits_of
from qbench.gate.verdicts.numbers import Cells, shown
from qbench.results.compare.comparable import compared, refusal
from qbench.results.stats.multiple_testing import CORRECTIONS
from qbench.results.stats.rank_tests import larger_p, least_p
from qbench.results.store.folders import Run, Store
from qbench.results.store.manifest_facts import facts
from qbench.results.table.metrics import METRICS
from qbench.suite.gate import GateSpec
from qbench.suite.spec import Suite

NOTHING = "the candidate holds no cell: nothing was measured"


def gate_stored(
    suite: Suite,
    baseline: Baseline,
    candidate: Run,
    *,
    against: str | Path = "",
    accept: Iterable[str] = (),
    gate_timed: bool = False,
) -> GateResult:
    """Compares the run with the baseline by the suite's section `gate`.

    Raises ResultsError where the run cannot be read, SuiteError for an override that no cell matches. Timed
    metrics are shown and not gated unless `gate_timed`.
    """
    store = Store(candidate.folder)
    records = list(store.records(candidate))
    now = baseline_cells(records)
    found = GateResult(
        suite.name, against=str(against), alpha=suite.gate.alpha, correction=suite.gate.correction
    )
    if not now:
        return replace(found, nothing=NOTHING)
    check_overrides(suite, (*baseline.cells.values(), *now.values()))
    here = facts(store.manifest(candidate), records)
    gpu = any(cell.facts["device"] != "cpu" for cell in now.values())
    left, taken = compared(baseline.environment, here, timed=gate_timed, gpu=gpu, accept=accept)
    found = replace(found, environment=(*left, *taken), accepted=tuple(taken), refused=refusal(left))
    if left:
        return found
    exact = exact_findings(baseline.cells, now, suite.gate)
    return replace(
        found, findings=(*exact, *timed_findings(baseline.cells, now, suite.gate, gated=gate_timed))
    )


@dataclass(frozen=True)
class _Pair:
    """Rounds of one timed metric of one cell on both sides."""

    cell: BaselineCell
    metric: str
    a: Sequence[float]
    b: Sequence[float]
    limit: float | None

    def above(self, factor: float) -> float:
        """P-value of the null that the candidate is worse by no more than `factor`."""
        worse, better = self._sides()
        return larger_p(worse, [value * factor for value in better])

    def below(self, factor: float) -> float:
        """P-value of the null that the candidate is worse by no less than `factor`."""
        worse, better = self._sides()
        return larger_p([value * factor for value in better], worse)

    def _sides(self) -> tuple[Sequence[float], Sequence[float]]:
        """Rounds of candidate and baseline; the other way round where more is better."""
        return (self.a, self.b) if METRICS[self.metric].direction == "higher" else (self.b, self.a)


def timed_findings(
    baseline: Cells, candidate: Cells, gate: GateSpec, *, gated: bool = False
) -> tuple[Finding, ...]:
    """Findings on the baseline's timed metrics; shown, or `gated` by rank tests corrected for their number.

    A metric that the candidate lacks is `missing`, which needs no test.
    """
    pairs = list(_pairs(baseline, candidate, gate))
    lost = tuple(_lost(baseline, candidate, gate, gated))
    if not gated:
        return (*lost, *(_shown(pair) for pair in pairs))
    tested = [pair for pair in pairs if pair.limit is not None]
    p = CORRECTIONS[gate.correction]([pair.above(pair.limit or 1.0) for pair in tested])
    found = [_tested(pair, float(own), gate.alpha, len(tested)) for pair, own in zip(tested, p, strict=True)]
    return (*lost, *found, *(_shown(pair) for pair in pairs if pair.limit is None))


def _pairs(baseline: Cells, candidate: Cells, gate: GateSpec) -> Iterator[_Pair]:
    for before, now, limits in _cells(baseline, candidate, gate):
        for metric, rounds in before.rounds.items():
            if metric in METRICS and now.rounds.get(metric) and not _gated_exactly(metric, limits):
                yield _Pair(now, metric, rounds, now.rounds[metric], limits.get(metric))


def _lost(baseline: Cells, candidate: Cells, gate: GateSpec, gated: bool) -> Iterator[Finding]:
    """Findings on timed metrics that the baseline has and the candidate's ok cell lacks."""
    for before, now, limits in _cells(baseline, candidate, gate):
        for metric, rounds in before.rounds.items():
            if rounds and not now.rounds.get(metric) and not _gated_exactly(metric, limits):
                reason = f"the baseline has {metric}, and the candidate gives none"
                yield Finding(
                    now.cell_id, now.cell, metric, "missing", gated and metric in limits, reason,
                    baseline=median(rounds), threshold=limits.get(metric),
                )  # fmt: skip


def _cells(
    baseline: Cells, candidate: Cells, gate: GateSpec
) -> Iterator[tuple[BaselineCell, BaselineCell, Limits]]:
    """Cells that are ok on both sides, with their thresholds."""
    for name, before in baseline.items():
        now = candidate.get(name)
        if now is not None and before.status == now.status == "ok":
            yield before, now, limits_of(gate, now.facts)


def _gated_exactly(metric: str, limits: Limits) -> bool:
    return metric in PEAKS and metric in limits


def _shown(pair: _Pair) -> Finding:
    found = _finding(pair)
    reason = "measured in different jobs, and gated against a stored baseline only with --gate-timed"
    text = "no change" if found.change is None else f"changed by {shown(found.change, True)}"
    return replace(found, reason=f"{text}; {reason}")


def _tested(pair: _Pair, p: float, alpha: float, tests: int) -> Finding:
    """Finding by the rank test; `p` is corrected for the number of tests."""
    verdict: Verdict
    found, limit = _finding(pair), pair.limit or 1.0
    said = f"{shown(found.change or 1.0, True)} over {len(pair.b)} rounds, threshold {shown(limit, True)}"
    if p <= alpha:
        verdict, why = "worse", f"beyond it (p = {p:.1g}, corrected for {tests} tests)"
    elif pair.below(limit) <= alpha:
        verdict, why = "same", "within it"
    else:
        verdict, why = "undecided", "neither within nor beyond it for certain"
        if least_p(len(pair.a), len(pair.b)) * tests > alpha:
            why += f"; so few rounds can never tell among {tests} tests"
    return replace(found, verdict=verdict, gated=True, p=p, reason=f"{said}: {why}")


def _finding(pair: _Pair) -> Finding:
    a, b = median(pair.a), median(pair.b)
    change = b / a if a > 0 and math.isfinite(b / a) else None
    return Finding(
        pair.cell.cell_id, pair.cell.cell, pair.metric, "undecided", False, "", a, b, change,
        threshold=pair.limit, samples=min(len(pair.a), len(pair.b)),
    )  # fmt: skip
