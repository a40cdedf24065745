"""Makes noise.json: times of two workers of the same cell, block by block, from runs of such a suite.

name: noise
models: [{source: "builtin:austen-6m", dtypes: [bf16]}]
methods: [{name: none}]
repetitions: 2
quality: false
memory: false
energy: false
latency: {prompt_lengths: [128], generated_tokens: 16, repetitions: 300}

    python -m tests.gate.proof.noise quiet=results/noise

replaces the recordings of that kind and keeps the others.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from qbench.results.store.folders import Store
from qbench.results.store.record import Record

FILE = Path(__file__).parent / "noise.json"
DIGITS = 4
"""Significant digits of a time."""
MOST_BLOCKS = 240
"""Number of first blocks of a run that are taken."""


def recorded(kind: str, folder: Path) -> list[dict[str, Any]]:
    """One recording for each cell that the runs under the folder hold twice."""
    store = Store(folder)
    found = []
    for run in store.runs():
        environment = store.manifest(run)["environment"]
        cpu = environment["cpu"]
        pairs: dict[str, list[Record]] = {}
        for record in store.records(run):
            pairs.setdefault(record.cell.label, []).append(record)
        for label, pair in sorted(pairs.items()):
            first, second = pair
            machine = f"{cpu['model']}, {cpu['cores']} cores, {environment['os']}"
            found.append(
                {
                    "kind": kind,
                    "name": f"{first.cell.model.name} {label} {first.cell.dtype}",
                    "machine": machine,
                    "recorded_at": first.started_at[:10],
                    "rounds_us": _rounds(first, second),
                }
            )
    return found


def _rounds(first: Record, second: Record) -> list[float]:
    """Flat [blocks, place, 4]: prefill, mean, median and 90th percentile of the decode steps, µs."""
    sides = [_by_lap(record) for record in (first, second)]
    flat: list[float] = []
    for lap in sorted(sides[0].keys() & sides[1].keys())[:MOST_BLOCKS]:
        for _, values in sorted((side[lap] for side in sides), key=lambda round_: round_[0]):
            flat += [float(f"{value * 1e6:.{DIGITS}g}") for value in values]
    return flat


def _by_lap(record: Record) -> dict[int, tuple[int, list[float]]]:
    """Lap → place, and the four times in seconds."""
    run = record.samples["latency"]["runs"][0]
    rows = zip(run["lap"], run["place"], run["prefill_s"], run["decode_s"], strict=True)
    return {
        lap: (
            place,
            [prefill, *(float(value) for value in (np.mean(steps), *np.quantile(steps, (0.5, 0.9))))],
        )
        for lap, place, prefill, steps in rows
    }


if __name__ == "__main__":
    said = {kind: folder for kind, _, folder in (word.partition("=") for word in sys.argv[1:])}
    kept = [one for one in json.loads(FILE.read_text())["recordings"] if one["kind"] not in said]
    made = [one for kind, folder in said.items() for one in recorded(kind, Path(folder))]
    lines = ",\n".join(json.dumps(one) for one in [*made, *kept])
    FILE.write_text('{"recordings": [\n' + lines + "\n]}\n")
