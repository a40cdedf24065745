"""The harness's own speed beside `baseline.json`: `python -m tests.benchmarks.ratios RESULT.json [--accept]`.

Each benchmark of `test_harness.py` comes to one number: its processor time over that of the reference, both
the least of their rounds. A ratio above `TOLERANCE` times the baseline's fails; one far below asks for a new
baseline, which only `--accept` writes.

Why ratios: another processor, or one that is slower today, changes both sides. Why processor time and
minima: other processes lengthen a round and never shorten it. Why 2: in eight repetitions on two cores that 6
to 20 processes wanted, ratios lay between 0.7 and 1.31 times the baseline's, which is their median;
what other processors add is not known yet.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 2.0
"""What is caught: an import too many at the start, a plan or a read that has become quadratic, a worker that
copies what it should share. What is not: a change of tens of percent, which other machines show as well."""


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """Benchmark → times the reference, of a file of pytest-benchmark."""
    return {
        one["name"].removeprefix("test_"): one["extra_info"]["cpu_s"] / one["extra_info"]["reference_s"]
        for one in result["benchmarks"]
        if "reference_s" in one["extra_info"]
    }


def problems(found: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """A line for each benchmark that is missing, new or too slow."""
    lost = [f"{name}: in the baseline and not measured" for name in sorted(set(baseline) - set(found))]
    new = [f"{name}: not in the baseline; accept it" for name in sorted(set(found) - set(baseline))]
    slow = [
        f"{name}: {found[name] / baseline[name]:.2f} times the baseline's ratio, more than {TOLERANCE:g}"
        for name in sorted(set(found) & set(baseline))
        if not found[name] <= TOLERANCE * baseline[name]
    ]
    return [*lost, *new, *slow]


def main(words: list[str]) -> int:
    file, accept = Path(words[0]), "--accept" in words[1:]
    found = ratios(json.loads(file.read_text()))
    if accept:
        said = {name: float(f"{value:.4g}") for name, value in sorted(found.items())}
        BASELINE.write_text(json.dumps(said, indent=2) + "\n")
        print(f"{BASELINE.name}: {len(said)} ratios")
        return 0
    baseline = json.loads(BASELINE.read_text())
    for name, value in sorted(found.items()):
        known = f"{value / baseline[name]:.2f} × baseline" if name in baseline else "new"
        print(f"{name:28} {value:10.4g} × reference  {known}")
    wrong = problems(found, baseline)
    print("\n".join(wrong) or "no benchmark is slower than its baseline allows")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
