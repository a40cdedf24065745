"""`Laps`: what the paired rounds of one cell say so far, of all its metrics at once."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from qbench.gate.timing.e_values import SAME, WORSE, Array, Bets, Interval
from qbench.gate.timing.process_starts import Loads
from qbench.results.table.metrics import METRICS

MARGIN = 0.5
"""Part of the log threshold below which the laps of few processes must be: the rest is for their luck."""

_LEAST = 1e-300


class Laps:
    """Rounds of baseline and candidate, paired by lap. Ratios count in the direction that is worse."""

    def __init__(self, thresholds: Mapping[str, float]) -> None:
        """`thresholds`: timed metric → factor from 1 on."""
        self.metrics = tuple(thresholds)
        self._worse = [-1.0 if METRICS[name].direction == "higher" else 1.0 for name in thresholds]
        tau = np.log([thresholds[name] for name in self.metrics])
        self.bets = Bets(tau, MARGIN)
        self.loads = Loads(tau)
        self.values: tuple[list[list[float]], list[list[float]]] = ([], [])
        """Of baseline and candidate, by lap in the order of `metrics`; NaN where there is none."""
        self.seen = [[False] * len(self.metrics) for _ in range(2)]
        """Whether baseline, and candidate, have ever given a number of the metric."""

    @property
    def laps(self) -> int:
        return len(self.bets.d)

    def add(
        self, baseline: Mapping[str, float | None], candidate: Mapping[str, float | None], load: int
    ) -> bool:
        """One lap; whether the evidence of whole loads has changed.

        A number that is not there, not finite or not above 0 leaves its metric out of the lap.
        """
        before, now = (self._read(side, values) for side, values in enumerate((baseline, candidate)))
        d = [sign * _log_ratio(a, b) for sign, a, b in zip(self._worse, before, now, strict=True)]
        spread = self.bets.spread
        self.bets.add(np.array(d))
        return self.loads.add(load, d, spread)

    def urgency(self, index: int) -> float:
        """Evidence of `worse` over that of `same` by the laps so far, as a log ratio."""
        worse, same = self.bets.e[WORSE, index], self.bets.e[SAME, index]
        return math.log(max(worse, _LEAST)) - math.log(max(same, _LEAST))

    def both_seen(self, index: int) -> bool:
        return self.seen[0][index] and self.seen[1][index]

    def column(self, index: int, side: int) -> Array:
        """The values of one metric by lap, of the baseline (0) or the candidate (1)."""
        return np.array([values[index] for values in self.values[side]])

    def change(self, index: int, level: float) -> tuple[float, float | None, float | None] | None:
        """Candidate over baseline and its interval at `level`, which holds it; None without a pair."""
        interval = Interval(
            *(np.array([row[index] for row in rows]) for rows in (self.bets.d, self.bets.scales))
        )
        middle = interval.estimate
        if math.isnan(middle):
            return None
        sign = self._worse[index]
        low, high = sorted(sign * end for end in interval.ends(level))
        return math.exp(sign * middle), _exp(low), _exp(high)

    def broken(self, index: int) -> tuple[int, float | None]:
        """Laps with a number that no clock and no counter gives, and the first such number."""
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
