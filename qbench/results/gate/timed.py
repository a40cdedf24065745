"""`TimedFamily`: what is timed of two versions, side by side on one machine, lap by lap until it is
decided.

    family = TimedFamily({cell_id: {"decode_s_per_token": 1.03}}, {cell_id: "austen-6m int4 bf16 cpu"})
    while budget and (cells := family.open_cells()):
        for cell_id in cells:  # each lap in an order that a coin draws
            family.add_lap(cell_id, round of the baseline, round of the candidate)
    findings = family.findings()

Each comparison (cell × metric) has a threshold t and three tests (`betting`) on θ, the log of the factor by
which the candidate is worse: `worse` rejects θ ≤ log t, `same` rejects θ ≥ log t, `better` rejects θ ≥ −log
t. So one statement holds threshold and test: `worse` says that the change is certainly above what matters.

With `confirm` a comparison that the laps call worse (not corrected yet) is a suspect, and `worse` only once
processes that were loaded afterwards say so too (`loads`), corrected over the suspects: two processes of
the same code can differ as long as they live. Say with each lap which load it belongs to; `open(cell,
load)` tells whether that load needs more laps, `open(cell)` whether the cell needs more laps of any load.
Without `confirm` the laps alone are corrected, for the whole family.

`better` is corrected for the whole family too; `same` is not: it is wrong with probability alpha at most
for each single comparison that is truly worse. A false alarm is thus rare over the whole night, a missed
one rare for each regression.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qbench.errors import ResultsError, did_you_mean
from qbench.results.gate.betting import BETTER, SAME, WORSE
from qbench.results.gate.family import CORRECTIONS, Array
from qbench.results.gate.finding import Finding, Verdict
from qbench.results.gate.laps import Laps
from qbench.results.gate.loads import log_e
from qbench.results.gate.wording import Judged, finding_of
from qbench.results.metrics import METRICS

Key = tuple[str, str]
"""Cell id and metric."""


class TimedFamily:
    """Timed comparisons that are judged together."""

    def __init__(
        self,
        thresholds: Mapping[str, Mapping[str, float]],
        names: Mapping[str, str],
        *,
        alpha: float = 0.05,
        correction: str = "holm",
        confirm: bool = False,
    ) -> None:
        """`thresholds`: cell id → timed metric → factor from 1 on; `names`: cell id → the cell in words."""
        if correction not in CORRECTIONS:
            raise ResultsError(f"correction {correction!r}; {did_you_mean(correction, CORRECTIONS)}")
        for metric in {name for of_cell in thresholds.values() for name in of_cell}:
            if metric not in METRICS or METRICS[metric].kind != "timed":
                timed = [name for name, known in METRICS.items() if known.kind == "timed" and known.gate]
                raise ResultsError(f"{metric!r} is no timed metric; {did_you_mean(metric, timed)}")
        self.alpha, self.correction, self.confirm = alpha, correction, confirm
        self._names = dict(names)
        self._cells = {cell_id: Laps(of_cell) for cell_id, of_cell in thresholds.items()}
        self._keys = [(cell_id, name) for cell_id, laps in self._cells.items() for name in laps.metrics]
        self._failed: dict[str, str] = {}
        self._adjusted: dict[int, dict[Key, float]] = {}
        self._of_suspects: dict[tuple[str, int], float] | None = None

    def add_lap(
        self,
        cell_id: str,
        baseline: Mapping[str, float | None],
        candidate: Mapping[str, float | None],
        load: int = 0,
    ) -> None:
        """One round of each version, neighbours in time, whose order a fair coin has drawn.

        `load` numbers the pairs of processes of this cell in the order in which they began.
        """
        laps = self._cells[cell_id]
        laps.add(baseline, candidate, load)
        self._adjusted.clear()
        self._of_suspects = None
        if self.confirm:
            laps.raise_suspicions(float(-np.log(self.alpha)))

    def fail(self, cell_id: str, reason: str) -> None:
        """The candidate's cell did not end well, and the baseline's did: no more laps are to come."""
        self._failed[cell_id] = reason

    def open(self, cell_id: str, load: int | None = None) -> bool:
        """Whether some metric of the cell is undecided and another lap would help; of this load, if given."""
        laps = self._cells[cell_id]
        if cell_id in self._failed:
            return False
        undecided = [i for i in range(len(laps.metrics)) if not self._settled(cell_id, i)]
        if load is None:
            return bool(undecided)
        return any(not laps.loads.suspect(i) or laps.loads.laps_wanted(i, load) for i in undecided)

    def open_cells(self) -> list[str]:
        """Those that need more laps; the fewest laps first, so that none starves."""
        found = [cell_id for cell_id in self._cells if self.open(cell_id)]
        return sorted(found, key=lambda cell_id: self._cells[cell_id].laps)

    @property
    def decided(self) -> bool:
        return not self.open_cells()

    @property
    def laps(self) -> int:
        """Most that any cell has."""
        return max((laps.laps for laps in self._cells.values()), default=0)

    def verdicts(self) -> dict[Key, Verdict]:
        """Every comparison's verdict as it stands."""
        return {
            (cell_id, name): self._verdict(cell_id, index)
            for cell_id, laps in self._cells.items()
            for index, name in enumerate(laps.metrics)
        }

    def findings(self, ended: str = "the budget ended") -> tuple[Finding, ...]:
        """One for each comparison that either side measured; `ended` says why there are no more laps."""
        return tuple(
            finding
            for cell_id, laps in self._cells.items()
            for index in range(len(laps.metrics))
            if (finding := self._finding(cell_id, index, ended)) is not None
        )

    def _finding(self, cell_id: str, index: int, ended: str) -> Finding | None:
        laps = self._cells[cell_id]
        name = laps.metrics[index]
        if laps.laps and cell_id not in self._failed and not laps.seen[:, index].any():
            return None
        level = 1 - self.alpha / max(1, len(self._keys))
        return finding_of(
            Judged(
                cell_id=cell_id,
                cell=self._names.get(cell_id, cell_id),
                metric=name,
                verdict=self._verdict(cell_id, index),
                threshold=float(np.exp(laps.bets.tau[index])),
                p=self._suspects_p()[cell_id, index]
                if laps.loads.suspect(index)
                else self._adjusted_p(WORSE)[cell_id, name],
                loads=len(laps.loads.medians(index)) if laps.loads.suspect(index) else None,
                change=laps.change(index, level),
                sides=(laps.column(index, 0), laps.column(index, 1)),
                broken=laps.broken(index),
                failed=self._failed.get(cell_id),
                ended=ended,
            )
        )

    def _settled(self, cell_id: str, index: int) -> bool:
        """Whether the verdict is another than undecided; by the comparison alone wherever that tells.

        What is certainly better is certainly within the threshold, so that it need not be asked for.
        """
        laps = self._cells[cell_id]
        if not laps.loads.suspect(index) and (
            laps.bets.most_log_e[SAME, index] >= -np.log(self.alpha)
            or (self.confirm and laps.laps and laps.seen[:, index].all())
        ):
            return bool(laps.bets.most_log_e[SAME, index] >= -np.log(self.alpha))
        return self._verdict(cell_id, index) != "undecided"

    def _verdict(self, cell_id: str, index: int) -> Verdict:
        laps = self._cells[cell_id]
        key = (cell_id, laps.metrics[index])
        if cell_id in self._failed:
            return "failed"
        if laps.loads.suspect(index):
            return self._of_suspect(cell_id, index)
        if not self.confirm and self._adjusted_p(WORSE)[key] <= self.alpha:
            return "worse"
        if laps.laps and not laps.seen[:, index].all():
            return _one_sided(bool(laps.seen[0, index]), bool(laps.seen[1, index]))
        if self._adjusted_p(BETTER)[key] <= self.alpha:
            return "better"
        return "same" if laps.bets.most_log_e[SAME, index] >= -np.log(self.alpha) else "undecided"

    def _of_suspect(self, cell_id: str, index: int) -> Verdict:
        """By the loads that began after the suspicion."""
        if self._suspects_p()[cell_id, index] <= self.alpha:
            return "worse"
        loads, tau = self._cells[cell_id].loads, float(self._cells[cell_id].bets.tau[index])
        within = log_e(loads.medians(index), tau).within
        return "same" if within >= -np.log(self.alpha) else "undecided"

    def _suspects_p(self) -> dict[tuple[str, int], float]:
        """P-values of the suspects by fresh loads, corrected for their number."""
        if self._of_suspects is not None:
            return self._of_suspects
        now = self.correction == "bh"
        found = {}
        for cell_id, laps in self._cells.items():
            for index in range(len(laps.metrics)):
                if laps.loads.suspect(index):
                    evidence = log_e(laps.loads.medians(index), float(laps.bets.tau[index]))
                    found[cell_id, index] = evidence.beyond_now if now else evidence.beyond
        p = CORRECTIONS[self.correction](np.exp(-np.maximum(list(found.values()), 0.0)))
        self._of_suspects = dict(zip(found, map(float, p), strict=True))
        return self._of_suspects

    def _adjusted_p(self, test: int) -> dict[Key, float]:
        """p-values of one test of every comparison, corrected for the family; see `family` for which E."""
        if test not in self._adjusted:
            now = self.correction == "bh"
            bets = [laps.bets for laps in self._cells.values()]
            logs = [(one.log_e if now else one.most_log_e)[test] for one in bets]
            log_e: Array = np.concatenate(logs or [np.empty(0)])
            adjusted = CORRECTIONS[self.correction](np.exp(-np.maximum(log_e, 0.0)))
            self._adjusted[test] = dict(zip(self._keys, map(float, adjusted), strict=True))
        return self._adjusted[test]


def _one_sided(baseline: bool, candidate: bool) -> Verdict:
    """Of a metric that a side never gave; one that neither gives is settled, and no finding is made of it."""
    if baseline:
        return "missing"
    return "new" if candidate else "same"
