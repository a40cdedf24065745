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
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.results.gate.finding import Verdict
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
GENERATED = 15
"""Decode steps in a recorded round."""


@dataclass(frozen=True)
class Recording:
    """Two workers of one cell by turns: [laps, place, len(ROUND)] seconds."""

    name: str
    rounds: Array

    @property
    def lap_s(self) -> float:
        """Mean seconds that a lap of both takes."""
        both = self.rounds[:, :, 0] + GENERATED * self.rounds[:, :, 1] + HANDOVER_S
        return float(both.sum(axis=1).mean())


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
    slow: Mapping[Key, float] | None = None
    """Cell and metric → factor that the candidate takes longer; None: A against A."""
    alpha: float = 0.05
    correction: str = "holm"


@dataclass(frozen=True)
class Outcome:
    verdicts: dict[Key, Verdict]
    laps: int
    spent_s: float

    def count(self, verdict: Verdict) -> int:
        return sum(found == verdict for found in self.verdicts.values())


def simulate(night: Night, seed: int) -> Outcome:
    """One night."""
    rng = np.random.default_rng([20261121, seed])
    limits = {str(cell): dict.fromkeys(night.metrics, night.threshold) for cell in range(night.cells)}
    family = TimedFamily(limits, {}, alpha=night.alpha, correction=night.correction)
    known = recordings(night.noise)
    laps = {cell: _laps(known, night, cell, rng) for cell in limits}
    cost = {cell: _cost(known, cell) for cell in limits}
    spent = 0.0
    while spent < night.budget_s and (cells := family.open_cells()):
        for cell in cells:
            if spent >= night.budget_s:
                break
            family.add_lap(cell, *next(laps[cell]))
            spent += cost[cell]
    return Outcome(family.verdicts(), family.laps, spent)


def _cost(known: list[Recording], cell: str) -> float:
    return known[int(cell) % len(known)].lap_s


def _laps(
    known: list[Recording], night: Night, cell: str, rng: np.random.Generator
) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    """Rounds of baseline and candidate, without end."""
    first, second = (known[(int(cell) + shift) % len(known)].rounds for shift in (0, 1))
    at, other = (int(rng.integers(len(rounds))) for rounds in (first, second))
    factors = np.array([(night.slow or {}).get((cell, name), 1.0) for name in EIGHT])
    while True:
        places = np.concatenate([first[at % len(first)], second[other % len(second)]], axis=1)
        coin = int(rng.integers(2))
        yield _named(places[coin], night), _named(places[1 - coin] * factors, night)
        at, other = at + 1, other + 1


def _named(values: Array, night: Night) -> dict[str, float]:
    whole = dict(zip(EIGHT, values.tolist(), strict=True))
    return {name: whole[name] for name in night.metrics}


def clopper_pearson(hits: int, runs: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share."""
    from scipy.stats import binomtest

    found = binomtest(hits, runs).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def proof(runs: int, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """Every row of the tables in docs/gate.md."""
    rows = []
    slow = {("7", "decode_s_per_token"): 1.0}
    quiet, busy = Night(), Night(noise="busy")
    plan: list[tuple[str, Night, int]] = [
        ("A/A, 60 × 8 timed", Night(metrics=EIGHT), runs),
        ("A/A, 60 × 8 timed, busy machine", Night(noise="busy", metrics=EIGHT), runs),
        ("A/A, 60 × 2 timed", quiet, runs),
        ("A/A, 60 × 8 timed, bh", Night(metrics=EIGHT, correction="bh"), runs),
    ]
    for percent in (2, 3, 4, 5, 6, 8, 10, 15):
        hurt = dict.fromkeys(slow, 1 + percent / 100)
        plan.append((f"+{percent} %, 60 × 2", Night(slow=hurt), runs // 2))
        plan.append((f"+{percent} %, 60 × 8", Night(slow=hurt, metrics=EIGHT), runs // 2))
    for percent in (1, 1.5, 2, 3):
        hurt = dict.fromkeys(slow, 1 + percent / 100)
        plan.append((f"+{percent} %, 60 × 2, threshold 1.01, budget × 10",
                     Night(slow=hurt, threshold=1.01, budget_s=18_000), runs // 5))  # fmt: skip
    for percent in (50, 100):
        hurt = dict.fromkeys(slow, 1 + percent / 100)
        plan.append((f"+{percent} %, 60 × 2, busy machine", Night(noise=busy.noise, slow=hurt), runs // 5))
    for name, night, count in plan:
        started = time.perf_counter()
        row = {"name": name, **_row(night, count)}
        say(f"{json.dumps(row)}  # {time.perf_counter() - started:.0f} s")
        rows.append(row)
    return rows


def _row(night: Night, runs: int) -> dict[str, Any]:
    hurt = set(night.slow or {})
    alarms = found = decided = 0
    laps, spent = [], []
    for seed in range(runs):
        outcome = simulate(night, seed)
        worse = {key for key, verdict in outcome.verdicts.items() if verdict == "worse"}
        alarms += bool(worse - hurt)
        found += bool(worse & hurt)
        decided += outcome.count("undecided") == 0
        laps.append(outcome.laps)
        spent.append(outcome.spent_s)
    row = {"runs": runs, "false_alarm": alarms, "false_alarm_95": clopper_pearson(alarms, runs),
           "all_decided": decided, "median_laps": float(np.median(laps)),
           "median_s": round(float(np.median(spent)), 1)}  # fmt: skip
    return {**row, "found": found, "found_95": clopper_pearson(found, runs)} if hurt else row


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    made = proof(asked.runs)
    if asked.out:
        asked.out.write_text(json.dumps(made, indent=1) + "\n")
