"""Simulated gates: the gate's own sampling and statistics, on noise that was recorded from a real machine.

A recording holds blocks of two workers of the very same cell, one right after the other, as the gate runs
baseline and candidate. A simulated cell begins at a random block of a recording and takes the blocks that
follow, round the end to the start: drift, bursts, autocorrelation, heavy tails and the effect of the place
stay as they were. In each block the gate's coin says whose round the first place is; the candidate's times
are then multiplied by the injected slowdown, and both by an effect of their process.

`Sampling` is the one that runs for real: passes, batches, budget and stopping. Only what touches a worker is
replaced, and the clock counts what it would take.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from qbench.gate.ab.paired_run import PairedRun
from qbench.gate.ab.sampling import Sampling
from qbench.gate.ab.units import Unit
from qbench.gate.ab.versions import Role
from qbench.gate.ab.workers import Workers
from qbench.gate.timing.timed import Key, TimedComparisons
from qbench.gate.verdicts.finding import Verdict

Array = NDArray[np.float64]
FOLDER = Path(__file__).parent
CELLS = 60
ROUND = ("prefill_s", "decode_s_per_token", "decode_step_p50_s", "decode_step_p90_s")
"""Contents of a recorded round, under the names of metrics."""
OTHERS = ("load_s", "quantize_s", "compile_s", "energy_j_per_token")
"""Names for the same four numbers of a second recording, so that there are eight timed metrics."""
DEFAULT, EIGHT = ROUND[:2], (*ROUND, *OTHERS)
SLOWED = "decode_s_per_token"
LOAD_S, RESTART_S = 1.5, 6.0
"""To load a cell on both versions, and to start both servers anew, from the second pass on."""
HANDOVER_S = 0.005
LEAD_IN_S = 0.1
"""Longest untimed lead-in of a round, which else is as long as the round."""
GENERATED = 15
"""Decode steps in a recorded round."""
TOGETHER = 8
"""Pairs in memory at a time, as by default."""
PROCESS_EFFECT = 0.007
"""Standard deviation of the log factor by which a process is slower as long as it lives, by metric."""


@dataclass(frozen=True)
class Recording:
    """Two workers of one cell by turns: [blocks, place, len(ROUND)] seconds."""

    name: str
    rounds: Array

    @functools.cached_property
    def lap_s(self) -> float:
        """Mean seconds that a block of both takes."""
        round_s = self.rounds[:, :, 0] + GENERATED * self.rounds[:, :, 1]
        whole_s = round_s + np.minimum(round_s, LEAD_IN_S) + HANDOVER_S
        return float(whole_s.sum(axis=1).mean())


@functools.cache
def recordings(kind: str) -> list[Recording]:
    """`quiet`: the machine for itself; `busy`: two cores shared with half a dozen other programs."""
    found = json.loads((FOLDER / "noise.json").read_text())["recordings"]
    return [
        Recording(one["name"], np.array(one["rounds_us"], dtype=np.float64).reshape(-1, 2, len(ROUND)) / 1e6)
        for one in found
        if one["kind"] == kind
    ]


@dataclass(frozen=True)
class Scenario:
    """Settings of a simulated gate."""

    noise: str = "quiet"
    metrics: tuple[str, ...] = DEFAULT
    threshold: float = 1.03
    budget_s: float = 3600.0
    cells: int = CELLS
    slow: float = 1.0
    """Factor that the candidate's decode takes longer in one cell; 1: A against A."""
    alpha: float = 0.05
    correction: str = "holm"
    confirm: bool = True
    process_effect: float = PROCESS_EFFECT

    def hurt(self, seed: int) -> set[Key]:
        """The comparison that is truly worse; another cell for each seed."""
        return {(str(seed % self.cells), SLOWED)} if self.slow > 1 else set()


@dataclass(frozen=True)
class Outcome:
    verdicts: dict[Key, Verdict]
    spent_s: float
    passes: int
    loads: dict[str, int]
    """Process starts of each cell."""

    def count(self, verdict: Verdict) -> int:
        return sum(found == verdict for found in self.verdicts.values())


def simulate(scenario: Scenario, seed: int) -> Outcome:
    """Runs the gate of a scenario once."""
    cells = [str(cell) for cell in range(scenario.cells)]
    limits = dict.fromkeys(scenario.metrics, scenario.threshold)
    family = TimedComparisons(
        dict.fromkeys(cells, limits),
        {},
        alpha=scenario.alpha,
        correction=scenario.correction,
        confirm=scenario.confirm,
    )
    paired_runs = [
        _PairedRun(cast(Any, None), cell, cell, [Unit(cell, cell, cell, "round", limits)]) for cell in cells
    ]
    sampling = _Sampling(
        Workers(), {}, family, paired_runs, scenario.budget_s, seed, "simulated", TOGETHER,
        fresh=scenario.confirm, restart_s=RESTART_S,
    )  # fmt: skip
    sampling.simulated(scenario, seed)
    sampling.run()
    loads = {paired.cell_id: paired.loads for paired in paired_runs}
    return Outcome(family.verdicts(), sampling.spent_s, sampling.passes, loads)


class _PairedRun(PairedRun):
    """A pair without workers."""

    @property
    def alive(self) -> bool:
        return True

    def statuses(self) -> dict[Role, str]:
        return {"baseline": "ok", "candidate": "ok"}

    def land(self, workers: Workers, suite: str) -> None:
        pass


class _Sampling(Sampling):
    """The real sampling, without workers."""

    def simulated(self, scenario: Scenario, seed: int) -> None:
        rng = np.random.default_rng([20261121, seed])
        known = recordings(scenario.noise)
        self._rng, self._scenario = rng, scenario
        self._laps = {
            paired.cell_id: _laps(known, scenario, paired.cell_id, rng) for paired in self.paired_runs
        }
        self._lap_s = {
            paired.cell_id: known[int(paired.cell_id) % len(known)].lap_s for paired in self.paired_runs
        }
        self._factors: dict[str, Array] = {}
        self._slow = {cell: scenario.slow for cell, _ in scenario.hurt(seed)}

    def _restart(self) -> None:
        self.spent_s += RESTART_S

    def _room(self) -> bool:
        return True

    def _load(self, paired: PairedRun) -> None:
        paired.loads += 1
        paired.load_s = LOAD_S
        if self.passes > 1:
            self.spent_s += LOAD_S
        factors = np.exp(self._scenario.process_effect * self._rng.standard_normal((2, len(EIGHT))))
        factors[1, EIGHT.index(SLOWED)] *= self._slow.get(paired.cell_id, 1.0)
        self._factors[paired.cell_id] = factors

    def _block(self, paired: PairedRun, unit: Unit) -> None:
        places, order = next(self._laps[paired.cell_id]), self._order()
        times = self._factors[paired.cell_id] * (places if order[0] == "baseline" else places[::-1])
        versions = [dict(zip(EIGHT, row, strict=True)) for row in times.tolist()]
        self.family.add_block(unit.key, versions[0], versions[1], paired.loads)
        self.spent_s += self._lap_s[paired.cell_id]
        paired.block_times[unit.key] = self._lap_s[paired.cell_id]


def _laps(known: list[Recording], scenario: Scenario, cell: str, rng: np.random.Generator) -> Iterator[Array]:
    """Endless blocks, [place, EIGHT]: seconds of first and second place."""
    first, second = (known[(int(cell) + shift) % len(known)].rounds for shift in (0, 1))
    at, other = (int(rng.integers(len(rounds))) for rounds in (first, second))
    while True:
        yield np.concatenate([first[at % len(first)], second[other % len(second)]], axis=1)
        at, other = at + 1, other + 1
