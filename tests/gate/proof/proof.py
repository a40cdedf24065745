"""The proof by simulation that docs/gate.md reports: makes proof.json, row by row.

python -m tests.gate.proof.proof --out tests/gate/proof/proof.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qbench.gate.timing.timed import Key
from tests.gate.proof.simulation import EIGHT, FOLDER, Outcome, Scenario, simulate

FILE = FOLDER / "proof.json"
CURVE = (1, 2, 3, 3.5, 4, 5, 6, 8, 10)
Row = dict[str, Any]


def plan() -> Iterator[tuple[str, Scenario, int]]:
    """Name, scenario, number of its runs; the budget is the default, 3600 s, unless the name has another."""
    two, ten = Scenario(), Scenario(cells=10, budget_s=300)
    half = replace(two, budget_s=1800)
    eight = replace(half, metrics=EIGHT)
    yield "A/A, 60 × 2", two, 500
    yield "+5 %, 60 × 2", replace(two, slow=1.05), 100
    yield "A/A, 60 × 8", Scenario(metrics=EIGHT), 500
    yield "+5 %, 60 × 8", Scenario(metrics=EIGHT, slow=1.05), 100
    yield "+2 %, 60 × 2, threshold 1 %, 18 000 s", Scenario(threshold=1.01, budget_s=18_000, slow=1.02), 30
    yield "A/A, 60 × 2, 1800 s", half, 500
    for size in CURVE:
        runs = 300 if size == 5 else 40
        yield f"+{size:g} %, 60 × 2, 1800 s", replace(half, slow=1 + size / 100), runs
    yield "A/A, 60 × 8, 1800 s", eight, 500
    yield "+5 %, 60 × 8, 1800 s", replace(eight, slow=1.05), 20
    yield "+10 %, 60 × 8, 1800 s", replace(eight, slow=1.10), 20
    yield "A/A, 60 × 2, busy machine, 1800 s", replace(half, noise="busy"), 200
    yield "+50 %, 60 × 2, busy machine, 1800 s", replace(half, noise="busy", slow=1.5), 20
    yield "A/A, 60 × 2, process effect of 2 %, 1800 s", replace(half, process_effect=0.02), 100
    yield "+5 %, 60 × 2, process effect of 2 %, 1800 s", replace(half, process_effect=0.02, slow=1.05), 40
    yield (
        "A/A, 60 × 2, process effect of 2 %, blocks alone, 1800 s",
        replace(half, process_effect=0.02, confirm=False),
        40,
    )
    for size in CURVE:
        yield f"+{size:g} %, 10 × 2, 300 s", replace(ten, slow=1 + size / 100), 40


def row(name: str, scenario: Scenario, runs: int) -> Row:
    """Result of a scenario. Its seeds are others than those used for tuning."""
    seeds = range(10_000, 10_000 + runs)
    outcomes = [(simulate(scenario, seed), scenario.hurt(seed)) for seed in seeds]
    alarms = sum(bool(_worse(outcome) - hurt) for outcome, hurt in outcomes)
    loads = [np.array(list(outcome.loads.values())) for outcome, _ in outcomes]
    found: Row = {
        "name": name,
        "runs": runs,
        "false_alarm": alarms,
        "false_alarm_95": clopper_pearson(alarms, runs),
        "decided": round(float(np.mean([_decided(outcome) for outcome, _ in outcomes])), 4),
        "all_decided": sum(_decided(outcome) == 1 for outcome, _ in outcomes),
        "loads_a_cell": round(float(np.mean([one.mean() for one in loads])), 2),
        "most_loads": float(np.median([one.max() for one in loads])),
        "median_s": round(float(np.median([outcome.spent_s for outcome, _ in outcomes])), 1),
    }
    if scenario.slow > 1:
        hits = sum(bool(_worse(outcome) & hurt) for outcome, hurt in outcomes)
        missed = sum(
            outcome.verdicts[key] in ("same", "better") for outcome, hurt in outcomes for key in hurt
        )
        found |= {"found": hits, "found_95": clopper_pearson(hits, runs), "called_same": missed}
    return found


def _worse(outcome: Outcome) -> set[Key]:
    return {key for key, verdict in outcome.verdicts.items() if verdict == "worse"}


def _decided(outcome: Outcome) -> float:
    return 1 - outcome.count("undecided") / len(outcome.verdicts)


def clopper_pearson(hits: int, runs: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share."""
    from scipy.stats import binomtest

    found = binomtest(hits, runs).proportion_ci(level, method="exact")
    return round(float(found.low), 4), round(float(found.high), 4)


def main(out: Path, scale: float) -> None:
    """Continues the file, a row at a time; rows that have as many runs as planned stay."""
    before: dict[str, Row] = {one["name"]: one for one in json.loads(out.read_text())} if out.exists() else {}
    made: list[Row] = []
    for name, scenario, planned in plan():
        started, runs = time.perf_counter(), max(1, round(planned * scale))
        known = before.get(name)
        made.append(known if known and known["runs"] == runs else row(name, scenario, runs))
        lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in made)
        out.write_text(f"[\n{lines}\n]\n")
        print(
            f"{json.dumps(made[-1], ensure_ascii=False)}  # {time.perf_counter() - started:.0f} s", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of runs of each row")
    asked = parser.parse_args()
    main(asked.out, asked.scale)
