"""`TimedComparisons`: sequential tests of all timed metrics of two versions, side by side on one machine.

    comparisons = TimedComparisons({cell_id: {"decode_s_per_token": 1.03}}, {cell_id: "austen-6m int4 cpu"})
    while budget and (cells := comparisons.open_cells()):
        for cell_id in cells:  # each block in an order that a coin draws
            comparisons.add_block(cell_id, round of the baseline, round of the candidate)
    findings = comparisons.findings()

Each comparison (cell × metric) has a threshold t; θ is the log of the factor by which the candidate is
worse.

- `worse` rejects θ ≤ log t by process starts (`process_starts`): two processes of the same code can differ as
  long as they live, and only fresh ones tell that from a regression. It is corrected for all comparisons that
  were planned (`multiple_testing`), so the probability of any false alarm is at most alpha.
- `same` rejects θ ≥ log t by process starts, or by blocks alone with half of log t for a margin, since blocks
  speak for the processes that ran. Neither is corrected: each is wrong with probability alpha at most for
  each comparison by itself; the latter of these processes, so that a difference between processes beyond the
  margin can deceive it.
- `better` rejects θ ≥ −log t by blocks, corrected for all comparisons: it turns nothing red.

A comparison that is `same` or `worse` stays so. `add_block` takes the number of the process start;
`open(cell, start)` tells whether another block of that start would help, `open(cell)` whether one of any
start would.

Without `confirm` blocks decide everything, `worse` corrected for all comparisons, `same` without a margin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from qbench.errors import ResultsError, did_you_mean
from qbench.gate.timing.e_values import BETTER, SAME, WELL, WORSE
from qbench.gate.timing.paired_blocks import PairedBlocks
from qbench.gate.timing.wording import sentence
from qbench.gate.verdicts.finding import Finding, Verdict
from qbench.results.stats.multiple_testing import CORRECTIONS, Array
from qbench.results.table.metrics import METRICS

LEAST_STARTS = 3
"""Process starts after which their blocks need no margin for differences between processes."""
Key = tuple[str, str]
"""Cell id and metric."""


class TimedComparisons:
    """Timed comparisons that are corrected for their number together."""

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
        self._cells = {cell_id: PairedBlocks(of_cell) for cell_id, of_cell in thresholds.items()}
        self._keys = [(cell_id, name) for cell_id, blocks in self._cells.items() for name in blocks.metrics]
        counts = np.cumsum([0, *(len(blocks.metrics) for blocks in self._cells.values())])
        self._first = dict(zip(self._cells, map(int, counts[:-1]), strict=True))
        """Cell → index of its first comparison."""
        self._failed: dict[str, str] = {}
        self._same = np.zeros(len(self._keys), dtype=bool)
        """Comparisons that were found to be the same; their evidence of `worse` no longer counts."""
        self._worse: Array | None = None
        """Corrected p-values of `worse`, until there is new evidence."""

    def add_block(
        self,
        cell_id: str,
        baseline: Mapping[str, float | None],
        candidate: Mapping[str, float | None],
        start: int = 0,
    ) -> None:
        """Takes one round of each version, neighbours in time, whose order a fair coin has drawn.

        `start` numbers the pairs of processes of this cell in the order in which they began.
        """
        blocks, first = self._cells[cell_id], self._first[cell_id]
        if blocks.add(baseline, candidate, start) or not self.confirm:
            self._worse = None
        for index in range(len(blocks.metrics)):
            if (
                not self._same[first + index]
                and self._is_same(blocks, index)
                and not self._is_worse(first + index)
            ):
                self._same[first + index], self._worse = True, None

    def fail(self, cell_id: str, reason: str) -> None:
        """Notes that the candidate's cell did not end well and the baseline's did: it gets no more blocks."""
        self._failed[cell_id] = reason

    def open(self, cell_id: str, start: int | None = None) -> bool:
        """True where a metric of the cell is undecided and another block, of `start` if given, would help.

        Without `confirm` every start is as good as another.
        """
        blocks, first = self._cells[cell_id], self._first[cell_id]
        if cell_id in self._failed:
            return False
        return any(
            not self._settled(blocks, first, index)
            and (start is None or not self.confirm or blocks.starts.wants(index, start))
            for index in range(len(blocks.metrics))
        )

    def urgency(self, cell_id: str) -> float:
        """Log ratio of the evidence of `worse` to that of `same`: the largest of the undecided metrics."""
        blocks, first = self._cells[cell_id], self._first[cell_id]
        open_ = [index for index in range(len(blocks.metrics)) if not self._settled(blocks, first, index)]
        return max(map(blocks.urgency, open_), default=-np.inf)

    def open_cells(self) -> list[str]:
        """Cells that need more blocks; those with the fewest come first, so that each gets its turn."""
        found = [cell_id for cell_id in self._cells if self.open(cell_id)]
        return sorted(found, key=lambda cell_id: self._cells[cell_id].count)

    @property
    def blocks(self) -> int:
        """Largest number of blocks that any cell has."""
        return max((blocks.count for blocks in self._cells.values()), default=0)

    def verdicts(self) -> dict[Key, Verdict]:
        """Present verdict of every comparison."""
        return {
            (cell_id, name): self._verdict(cell_id, index)
            for cell_id, blocks in self._cells.items()
            for index, name in enumerate(blocks.metrics)
        }

    def findings(self, ended: str = "the budget ended") -> tuple[Finding, ...]:
        """A finding for each comparison that either side measured; `ended` says what ended sampling."""
        return tuple(
            finding
            for cell_id, blocks in self._cells.items()
            for index in range(len(blocks.metrics))
            if (finding := self._finding(cell_id, index, ended)) is not None
        )

    def _finding(self, cell_id: str, index: int, ended: str) -> Finding | None:
        blocks, number = self._cells[cell_id], self._first[cell_id] + index
        if (
            blocks.count
            and cell_id not in self._failed
            and not (blocks.seen[0][index] or blocks.seen[1][index])
        ):
            return None
        before, now = (_median(blocks.column(index, side)) for side in (0, 1))
        change, low, high = blocks.change(index, 1 - self.alpha / max(1, len(self._keys))) or (
            None,
            None,
            None,
        )
        verdict = self._verdict(cell_id, index)
        found = Finding(
            cell_id, self._names.get(cell_id, cell_id), blocks.metrics[index], verdict, verdict != "new", "",
            before, now, change, low, high, float(np.exp(blocks.e_values.tau[index])),
            p=float(self._worse_p()[number]), samples=blocks.count,
        )  # fmt: skip
        starts = blocks.starts.count(index) if self.confirm else None
        same_by_starts = blocks.starts.evidence[index].within >= self._bar
        why = self._failed.get(cell_id, ended)
        return replace(found, reason=sentence(found, why, starts, same_by_starts, blocks.broken(index)))

    def _settled(self, blocks: PairedBlocks, first: int, index: int) -> bool:
        """True where the verdict is final; `better` counts as settled through `same`."""
        return bool(
            self._same[first + index]
            or (blocks.count and not blocks.both_seen(index))
            or self._is_worse(first + index)
        )

    def _verdict(self, cell_id: str, index: int) -> Verdict:
        blocks, number = self._cells[cell_id], self._first[cell_id] + index
        if cell_id in self._failed:
            return "failed"
        if self._is_worse(number):
            return "worse"
        if blocks.count and not blocks.both_seen(index):
            return _one_sided(blocks.seen[0][index], blocks.seen[1][index])
        if self._better_p()[number] <= self.alpha:
            return "better"
        return "same" if self._same[number] else "undecided"

    @property
    def _bar(self) -> float:
        """Smallest log E at which a single test rejects."""
        return float(-np.log(self.alpha))

    def _is_same(self, blocks: PairedBlocks, index: int) -> bool:
        enough = not self.confirm or blocks.starts.count(index) >= LEAST_STARTS
        return bool(
            blocks.e_values.most_e[SAME if enough else WELL, index] >= 1 / self.alpha
            or (self.confirm and blocks.starts.evidence[index].within >= self._bar)
        )

    def _is_worse(self, number: int) -> bool:
        return bool(self._worse_p()[number] <= self.alpha)

    def _worse_p(self) -> Array:
        """Corrected p-values of `worse` by comparison; see `multiple_testing` for the choice of E."""
        if self._worse is None:
            log_e = self._of_starts() if self.confirm else self._of_blocks(WORSE)
            self._worse = self._corrected(np.where(self._same, 0.0, log_e))
        return self._worse

    def _better_p(self) -> Array:
        return self._corrected(self._of_blocks(BETTER))

    def _of_starts(self) -> Array:
        found = [one for blocks in self._cells.values() for one in blocks.starts.evidence]
        return np.array([one.beyond_now if self.correction == "bh" else one.beyond for one in found])

    def _of_blocks(self, test: int) -> Array:
        found = [blocks.e_values for blocks in self._cells.values()]
        wealth = [(one.e if self.correction == "bh" else one.most_e)[test] for one in found]
        log_e: Array = np.log(np.concatenate(wealth or [np.empty(0)]))
        return log_e

    def _corrected(self, log_e: Array) -> Array:
        return CORRECTIONS[self.correction](np.exp(-np.maximum(log_e, 0.0)))


def _one_sided(baseline: bool, candidate: bool) -> Verdict:
    """Verdict on a metric that a side never gave; that neither gives it is settled and makes no finding."""
    if baseline:
        return "missing"
    return "new" if candidate else "same"


def _median(values: Array) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None
