"""`Laps`: what the paired rounds of one cell say so far, of all its metrics at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from qbench.results.gate.betting import SAME, WORSE, Array, Bets, bounds
from qbench.results.gate.loads import PATIENCE, Loads
from qbench.results.metrics import METRICS


class Laps:
    """Rounds of baseline and candidate, paired by lap. Ratios count in the direction that is worse."""

    def __init__(self, thresholds: Mapping[str, float]) -> None:
        """`thresholds`: timed metric → factor from 1 on."""
        self.metrics = tuple(thresholds)
        self._worse = np.array([-1.0 if METRICS[name].direction == "higher" else 1.0 for name in thresholds])
        self.bets = Bets(np.log([thresholds[name] for name in self.metrics]))
        self.loads = Loads(len(self.metrics))
        self.values: tuple[list[Array], list[Array]] = ([], [])
        """Of baseline and candidate, one array by lap in the order of `metrics`; NaN where there is none."""
        self.seen = np.zeros((2, len(self.metrics)), dtype=bool)
        """Whether baseline, and candidate, have ever given a number of the metric."""

    @property
    def laps(self) -> int:
        return len(self.bets.d)

    def add(
        self, baseline: Mapping[str, float | None], candidate: Mapping[str, float | None], load: int
    ) -> None:
        """One lap. A number that is not there, not finite or not above 0 leaves its metric out of the lap."""
        sides = [self._read(values) for values in (baseline, candidate)]
        for kept, values in zip(self.values, sides, strict=True):
            kept.append(values)
        self.seen |= ~np.isnan(sides)
        with np.errstate(invalid="ignore", divide="ignore"):
            d = self._worse * np.log(sides[1] / sides[0])
        d[~((sides[0] > 0) & (sides[1] > 0) & np.isfinite(d))] = np.nan
        self.bets.add(d)
        self.loads.add(load, d)

    def raise_suspicions(self, bar: float) -> None:
        """Of what the laps call worse, its log E at the bar; and of what they cannot decide for long."""
        log_e = self.bets.most_log_e
        stuck = (log_e[SAME] < bar) & (self.laps >= PATIENCE)
        for index in np.flatnonzero((log_e[WORSE] >= bar) | stuck):
            self.loads.raise_suspicion(int(index), float(self.bets.spread[index]))

    def column(self, index: int, side: int) -> Array:
        """The values of one metric by lap, of the baseline (0) or the candidate (1)."""
        return np.array([values[index] for values in self.values[side]])

    def paired(self, index: int) -> Array:
        """Log ratios by lap, in the direction that is worse, of the laps that have one."""
        d = np.array([row[index] for row in self.bets.d])
        found: Array = d[np.isfinite(d)]
        return found

    def change(self, index: int, level: float) -> tuple[float, float | None, float | None] | None:
        """Median of candidate over baseline by lap and its interval at `level`; None without a pair."""
        d = self.paired(index)
        if not len(d):
            return None
        scales = np.array([row[index] for row in self.bets.scales])
        ends = bounds(np.array([row[index] for row in self.bets.d]), scales, level)
        sign = float(self._worse[index])
        middle = math.exp(sign * float(np.median(d)))
        low, high = sorted(sign * end for end in ends)
        return middle, _exp(low), _exp(high)

    def broken(self, index: int) -> tuple[int, float | None]:
        """Laps with a number that no clock and no counter gives, and the first such number."""
        values = np.concatenate([self.column(index, side) for side in (0, 1)])
        wrong = values[(values <= 0) | np.isinf(values)]
        return len(wrong), float(wrong[0]) if len(wrong) else None

    def _read(self, values: Mapping[str, float | None]) -> Array:
        found: Sequence[float | None] = [values.get(name) for name in self.metrics]
        return np.array([math.nan if value is None else float(value) for value in found])


def _exp(end: float) -> float | None:
    return math.exp(end) if math.isfinite(end) else None
