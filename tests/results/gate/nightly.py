"""Simulated nights: the real family of timed comparisons, on noise that was recorded from a real machine.

A recording holds laps of two workers of the very same cell, one right after the other, as the gate runs
baseline and candidate. A simulated cell begins at a random lap of a recording and takes the laps that
follow, round the end to the start: drift, bursts, autocorrelation, heavy tails and the effect of the place
stay as they were. In each lap a coin says whose round the first place is; the candidate's times are then
multiplied by what is injected.

    python -m tests.results.gate.nightly          # the whole proof, as docs/gate.md reports it
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.results.gate.finding import Verdict
from qbench.results.gate.loads import LAPS
from qbench.results.gate.timed import Key, TimedFamily

Array = NDArray[np.float64]
FOLDER = Path(__file__).parent
CELLS = 60
ROUND = ("prefill_s", "decode_s_per_token", "decode_step_p50_s", "decode_step_p90_s")
"""What a recorded round holds, under the names of metrics."""
OTHERS = ("load_s", "quantize_s", "compile_s", "energy_j_per_token")
"""Metrics that take the noise of a second recorded round, so that there are eight of them."""
DEFAULT, EIGHT = ROUND[:2], (*ROUND, *OTHERS)
HANDOVER_S = 0.005
"""Between two rounds."""
LOAD_S = 1.0
"""To load a cell on both sides, from the second time on; as `qbench gate` counts it."""
EIGHT_S = 600.0
"""Budget of the nights with eight timed metrics; most of the noisy ones stay open in any."""
GENERATED = 15
"""Decode steps in a recorded round."""


@dataclass(frozen=True)
class Recording:
    """Two workers of one cell by turns: [laps, place, len(ROUND)] seconds."""

    name: str
    rounds: Array

    @functools.cached_property
    def lap_s(self) -> float:
        """Mean seconds that a lap of both takes."""
        both = self.rounds[:, :, 0] + GENERATED * self.rounds[:, :, 1] + HANDOVER_S
        return float(both.sum(axis=1).mean())


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
class Night:
    """What a simulated gate is like."""

    noise: str = "quiet"
    metrics: tuple[str, ...] = DEFAULT
    threshold: float = 1.03
    budget_s: float = 1800.0
    cells: int = CELLS
    slow: float = 1.0
    """Factor that the candidate's decode takes longer in one cell; 1: A against A."""
    alpha: float = 0.05
    correction: str = "holm"
    confirm: bool = True
    luck: float = 0.007
    """Standard deviation of the log factor by which a process is slower as long as it lives, by metric."""

    def hurt(self, seed: int) -> set[Key]:
        """The comparison that is truly worse; another cell each night."""
        return {(str(seed % self.cells), "decode_s_per_token")} if self.slow > 1 else set()


@dataclass(frozen=True)
class Outcome:
    verdicts: dict[Key, Verdict]
    laps: int
    spent_s: float
    loads: int

    def count(self, verdict: Verdict) -> int:
        return sum(found == verdict for found in self.verdicts.values())


def simulate(night: Night, seed: int) -> Outcome:
    """One night."""
    rng = np.random.default_rng([20261121, seed])
    limits = {str(cell): dict.fromkeys(night.metrics, night.threshold) for cell in range(night.cells)}
    family = TimedFamily(limits, {}, alpha=night.alpha, correction=night.correction, confirm=night.confirm)
    known = recordings(night.noise)
    laps = {cell: _laps(known, night, night.hurt(seed), cell, rng) for cell in limits}
    spent, load = 0.0, 0
    while spent < night.budget_s and (waiting := family.open_cells()):
        load += 1
        rng.shuffle(waiting)
        while waiting and spent < night.budget_s:
            cell, left = waiting.pop(), night.budget_s - spent
            end = spent + left / (len(waiting) + 1) / 2
            spent += LOAD_S if load > 1 else 0.0
            luck = np.exp(night.luck * rng.standard_normal((2, len(EIGHT))))
            done = 0
            while family.open(cell, load) and (spent < end or done < LAPS):
                sides = zip(next(laps[cell]), luck, strict=True)
                family.add_lap(cell, *(_named(times * factor, night) for times, factor in sides), load=load)
                spent, done = spent + _cost(known, cell), done + 1
    return Outcome(family.verdicts(), family.laps, spent, load)


def _cost(known: list[Recording], cell: str) -> float:
    return known[int(cell) % len(known)].lap_s


def _laps(
    known: list[Recording], night: Night, hurt: set[Key], cell: str, rng: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """Rounds of baseline and candidate, without end: what each of EIGHT took."""
    first, second = (known[(int(cell) + shift) % len(known)].rounds for shift in (0, 1))
    at, other = (int(rng.integers(len(rounds))) for rounds in (first, second))
    factors = np.array([night.slow if (cell, name) in hurt else 1.0 for name in EIGHT])
    while True:
        places = np.concatenate([first[at % len(first)], second[other % len(second)]], axis=1)
        coin = int(rng.integers(2))
        yield places[coin], places[1 - coin] * factors
        at, other = at + 1, other + 1


def _named(values: Array, night: Night) -> dict[str, float]:
    whole = dict(zip(EIGHT, values.tolist(), strict=True))
    return {name: whole[name] for name in night.metrics}


def clopper_pearson(hits: int, runs: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share."""
    from scipy.stats import binomtest

    found = binomtest(hits, runs).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def proof(
    runs: int, part: int = 0, parts: int = 1, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """Every row of the tables in docs/gate.md, or one in `parts` of them."""
    rows = []
    for name, night, count in list(_plan(runs))[part::parts]:
        started = time.perf_counter()
        row = {"name": name, **_row(night, count)}
        say(f"{json.dumps(row, ensure_ascii=False)}  # {time.perf_counter() - started:.0f} s")
        rows.append(row)
    return rows


def _plan(runs: int) -> Iterator[tuple[str, Night, int]]:
    """Name, night, and how many of it."""
    eight = Night(metrics=EIGHT, budget_s=EIGHT_S)
    yield "A/A, 60 × 8", eight, runs
    yield "A/A, 60 × 2", Night(), runs // 5
    yield "A/A, 60 × 8, busy machine", replace(eight, noise="busy"), runs
    yield "A/A, 60 × 8, luck of 2 %", replace(eight, luck=0.02), runs // 5
    yield "A/A, 60 × 8, laps alone", replace(eight, confirm=False), runs // 5
    yield "A/A, 60 × 8, luck of 2 %, laps alone", replace(eight, luck=0.02, confirm=False), runs // 10
    for percent in (4, 5):
        yield f"+{percent} %, 60 × 2", Night(slow=1 + percent / 100), runs // 5
    ten = Night(cells=10, budget_s=300)
    for size in (2, 3, 3.5, 4, 5, 6, 8, 10):
        yield f"+{size:g} %, 10 × 2", replace(ten, slow=1 + size / 100), runs // 8
    tenfold = Night(threshold=1.01, budget_s=18_000)
    yield "+2 %, 60 × 2, threshold 1.01, budget × 10", replace(tenfold, slow=1.02), runs // 40
    for size in (1, 1.5, 2, 3):
        night = replace(ten, slow=1 + size / 100, threshold=1.01, budget_s=3000)
        yield f"+{size:g} %, 10 × 2, threshold 1.01, budget × 10", night, runs // 25
    yield "+100 %, 60 × 2, busy machine", Night(noise="busy", slow=2.0), runs // 10


def _row(night: Night, runs: int) -> dict[str, Any]:
    alarms = found = decided = 0
    laps, spent = [], []
    for seed in range(runs):
        outcome, hurt = simulate(night, seed), night.hurt(seed)
        worse = {key for key, verdict in outcome.verdicts.items() if verdict == "worse"}
        alarms += bool(worse - hurt)
        found += bool(worse & hurt)
        decided += outcome.count("undecided") == 0
        laps.append(outcome.laps)
        spent.append(outcome.spent_s)
    row = {"runs": runs, "false_alarm": alarms, "false_alarm_95": clopper_pearson(alarms, runs),
           "all_decided": decided, "median_laps": float(np.median(laps)),
           "median_s": round(float(np.median(spent)), 1)}  # fmt: skip
    return {**row, "found": found, "found_95": clopper_pearson(found, runs)} if night.slow > 1 else row


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--part", default="0/1", help="which share of the rows: 0/2 and 1/2 are all")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    made = proof(asked.runs, *map(int, asked.part.split("/")))
    if asked.out:
        asked.out.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
