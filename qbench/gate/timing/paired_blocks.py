"""`PairedBlocks`: the paired rounds of one cell so far, and the evidence of all its metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from qbench.gate.timing.e_values import SAME, WORSE, Array, EValues, Interval
from qbench.gate.timing.process_starts import ProcessStarts
from qbench.results.table.metrics import METRICS

MARGIN = 0.5
"""Part of the log threshold that blocks of few processes must stay below: the rest is for how processes of
the same code differ."""

_LEAST = 1e-300


class PairedBlocks:
    """Rounds of baseline and candidate in blocks of two. Ratios count in the direction that is worse."""

    def __init__(self, thresholds: Mapping[str, float]) -> None:
        """`thresholds`: timed metric → factor from 1 on."""
        self.metrics = tuple(thresholds)
        self._worse = [-1.0 if METRICS[name].direction == "higher" else 1.0 for name in thresholds]
        tau = np.log([thresholds[name] for name in self.metrics])
        self.e_values = EValues(tau, MARGIN)
        self.starts = ProcessStarts(tau)
        self.values: tuple[list[list[float]], list[list[float]]] = ([], [])
        """Values of baseline and candidate, by block in the order of `metrics`; NaN where there is none."""
        self.seen = [[False] * len(self.metrics) for _ in range(2)]
        """True, by side and metric, once the side has given a number of the metric."""

    @property
    def count(self) -> int:
        return len(self.e_values.d)

    def add(
        self, baseline: Mapping[str, float | None], candidate: Mapping[str, float | None], start: int
    ) -> bool:
        """Takes one block; returns whether the evidence of process starts has changed.

        A number that is not there, not finite or not above 0 leaves its metric out of the block.
        """
        before, now = (self._read(side, values) for side, values in enumerate((baseline, candidate)))
        d = [sign * _log_ratio(a, b) for sign, a, b in zip(self._worse, before, now, strict=True)]
        spread = self.e_values.spread
        self.e_values.add(np.array(d))
        return self.starts.add(start, d, spread)

    def urgency(self, index: int) -> float:
        """Evidence of `worse` over that of `same` by the blocks so far, as a log ratio."""
        worse, same = self.e_values.e[WORSE, index], self.e_values.e[SAME, index]
        return math.log(max(worse, _LEAST)) - math.log(max(same, _LEAST))

    def both_seen(self, index: int) -> bool:
        return self.seen[0][index] and self.seen[1][index]

    def column(self, index: int, side: int) -> Array:
        """Values of one metric by block, of the baseline (0) or the candidate (1)."""
        return np.array([values[index] for values in self.values[side]])

    def change(self, index: int, level: float) -> tuple[float, float | None, float | None] | None:
        """Candidate over baseline with its interval at `level`; None without a pair of numbers."""
        interval = Interval(
            *(np.array([row[index] for row in rows]) for rows in (self.e_values.d, self.e_values.scales))
        )
        middle = interval.estimate
        if math.isnan(middle):
            return None
        sign = self._worse[index]
        low, high = sorted(sign * end for end in interval.ends(level))
        return math.exp(sign * middle), _exp(low), _exp(high)

    def broken(self, index: int) -> tuple[int, float | None]:
        """Number of values that no clock and no counter gives, and the first such value."""
        values = np.concatenate([self.column(index, side) for side in (0, 1)])
        wrong = values[(values <= 0) | np.isinf(values)]
        return len(wrong), float(wrong[0]) if len(wrong) else None

    def _read(self, side: int, values: Mapping[str, float | None]) -> list[float]:
        row = []
        for index, name in enumerate(self.metrics):
            value = values.get(name)
            row.append(math.nan if value is None else float(value))
            if value is not None and value == value:
                self.seen[side][index] = True
        self.values[side].append(row)
        return row


def _log_ratio(a: float, b: float) -> float:
    """log(b / a); NaN unless both are above 0 and finite."""
    return math.log(b) - math.log(a) if 0 < a < math.inf and 0 < b < math.inf else math.nan


def _exp(end: float) -> float | None:
    return math.exp(end) if math.isfinite(end) else None
