"""`TimedFamily`: what is timed of two versions, side by side on one machine, lap by lap until it is
decided.

    family = TimedFamily({cell_id: {"decode_s_per_token": 1.03}}, {cell_id: "austen-6m int4 bf16 cpu"})
    while budget and (cells := family.open_cells()):
        for cell_id in cells:  # each lap in an order that a coin draws
            family.add_lap(cell_id, round of the baseline, round of the candidate)
    findings = family.findings()

Each comparison (cell × metric) has a threshold t; θ is the log of the factor by which the candidate is
worse.

- `worse` rejects θ ≤ log t by whole loads (`loads`): two processes of the same code can differ as long as
  they live, and only fresh ones tell that luck from a regression. It is corrected for the family, which is
  all comparisons that were planned: so the probability of any false alarm is at most alpha.
- `same` rejects θ ≥ log t by whole loads, or by the laps alone with half of log t for a margin, since laps
  speak for the processes that ran. Neither is corrected: each is wrong with probability alpha at most for
  each comparison by itself; the latter of these processes, so that luck beyond the margin can deceive it.
- `better` rejects θ ≥ −log t by the laps, corrected for the family: it turns nothing red.

What is `same` or `worse` stays so. Say with each lap which load it belongs to; `open(cell, load)` tells
whether that load is worth more laps, `open(cell)` whether the cell needs more laps of any load.

Without `confirm` laps decide everything, `worse` corrected for the family, `same` without a margin.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qbench.errors import ResultsError, did_you_mean
from qbench.gate.timing.blocks import Laps
from qbench.gate.timing.e_values import BETTER, SAME, WELL, WORSE
from qbench.gate.timing.wording import Judged, finding_of
from qbench.gate.verdicts.finding import Finding, Verdict
from qbench.results.stats.multiple_testing import CORRECTIONS, Array
from qbench.results.table.metrics import METRICS

LEAST_LOADS = 3
"""Whole loads after which their laps need no margin for luck."""
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
        counts = np.cumsum([0, *(len(laps.metrics) for laps in self._cells.values())])
        self._first = dict(zip(self._cells, map(int, counts[:-1]), strict=True))
        """Cell → the number of its first comparison."""
        self._failed: dict[str, str] = {}
        self._same = np.zeros(len(self._keys), dtype=bool)
        """Comparisons that were found to be so; their evidence of `worse` is given away."""
        self._worse: Array | None = None
        """Corrected p-values of `worse`, until there is new evidence."""

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
        laps, first = self._cells[cell_id], self._first[cell_id]
        if laps.add(baseline, candidate, load) or not self.confirm:
            self._worse = None
        for index in range(len(laps.metrics)):
            if (
                not self._same[first + index]
                and self._is_same(laps, index)
                and not self._is_worse(first + index)
            ):
                self._same[first + index], self._worse = True, None

    def fail(self, cell_id: str, reason: str) -> None:
        """The candidate's cell did not end well, and the baseline's did: no more laps are to come."""
        self._failed[cell_id] = reason

    def open(self, cell_id: str, load: int | None = None) -> bool:
        """Whether some metric of the cell is undecided and another lap would help; of this load, if given.

        Without `confirm` every load is as good as another.
        """
        laps, first = self._cells[cell_id], self._first[cell_id]
        if cell_id in self._failed:
            return False
        return any(
            not self._settled(laps, first, index)
            and (load is None or not self.confirm or laps.loads.wants(index, load))
            for index in range(len(laps.metrics))
        )

    def urgency(self, cell_id: str) -> float:
        """Of an open cell, how much more an undecided metric looks worse than the same; a log ratio."""
        laps, first = self._cells[cell_id], self._first[cell_id]
        open_ = [index for index in range(len(laps.metrics)) if not self._settled(laps, first, index)]
        return max(map(laps.urgency, open_), default=-np.inf)

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
        laps, number = self._cells[cell_id], self._first[cell_id] + index
        if laps.laps and cell_id not in self._failed and not (laps.seen[0][index] or laps.seen[1][index]):
            return None
        return finding_of(
            Judged(
                cell_id=cell_id,
                cell=self._names.get(cell_id, cell_id),
                metric=laps.metrics[index],
                verdict=self._verdict(cell_id, index),
                threshold=float(np.exp(laps.bets.tau[index])),
                p=float(self._worse_p()[number]),
                loads=len(laps.loads.medians(index)) if self.confirm else None,
                by_loads=laps.loads.evidence[index].within >= self._bar,
                change=laps.change(index, 1 - self.alpha / max(1, len(self._keys))),
                sides=(laps.column(index, 0), laps.column(index, 1)),
                broken=laps.broken(index),
                failed=self._failed.get(cell_id),
                ended=ended,
            )
        )

    def _settled(self, laps: Laps, first: int, index: int) -> bool:
        """Whether the verdict is another than undecided; certainly better is certainly the same, too."""
        return bool(
            self._same[first + index]
            or (laps.laps and not laps.both_seen(index))
            or self._is_worse(first + index)
        )

    def _verdict(self, cell_id: str, index: int) -> Verdict:
        laps, number = self._cells[cell_id], self._first[cell_id] + index
        if cell_id in self._failed:
            return "failed"
        if self._is_worse(number):
            return "worse"
        if laps.laps and not laps.both_seen(index):
            return _one_sided(laps.seen[0][index], laps.seen[1][index])
        if self._better_p()[number] <= self.alpha:
            return "better"
        return "same" if self._same[number] else "undecided"

    @property
    def _bar(self) -> float:
        """log E from which on a single test rejects."""
        return float(-np.log(self.alpha))

    def _is_same(self, laps: Laps, index: int) -> bool:
        enough = not self.confirm or laps.loads.count(index) >= LEAST_LOADS
        return bool(
            laps.bets.most_e[SAME if enough else WELL, index] >= 1 / self.alpha
            or (self.confirm and laps.loads.evidence[index].within >= self._bar)
        )

    def _is_worse(self, number: int) -> bool:
        return bool(self._worse_p()[number] <= self.alpha)

    def _worse_p(self) -> Array:
        """By comparison, corrected for all that were planned; see `family` for which E."""
        if self._worse is None:
            log_e = self._of_loads() if self.confirm else self._of_laps(WORSE)
            self._worse = self._corrected(np.where(self._same, 0.0, log_e))
        return self._worse

    def _better_p(self) -> Array:
        return self._corrected(self._of_laps(BETTER))

    def _of_loads(self) -> Array:
        found = [one for laps in self._cells.values() for one in laps.loads.evidence]
        return np.array([one.beyond_now if self.correction == "bh" else one.beyond for one in found])

    def _of_laps(self, test: int) -> Array:
        bets = [laps.bets for laps in self._cells.values()]
        wealth = [(one.e if self.correction == "bh" else one.most_e)[test] for one in bets]
        found: Array = np.log(np.concatenate(wealth or [np.empty(0)]))
        return found

    def _corrected(self, log_e: Array) -> Array:
        return CORRECTIONS[self.correction](np.exp(-np.maximum(log_e, 0.0)))


def _one_sided(baseline: bool, candidate: bool) -> Verdict:
    """Of a metric that a side never gave; one that neither gives is settled, and no finding is made of it."""
    if baseline:
        return "missing"
    return "new" if candidate else "same"
