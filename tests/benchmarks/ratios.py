"""Harness and kernels beside `baseline.json`: `python -m tests.benchmarks.ratios RESULT.json [--accept]`.

Each benchmark that was noted by `beside.py` comes to one number: its processor time over that of its
reference, both the least of their rounds. A ratio above `TOLERANCE` times the baseline's fails; one far below
asks for a new baseline, which only `--accept` writes.

Why ratios: another processor, or one that is slower today, changes both sides. Why processor time and
minima: other processes lengthen a round and never shorten it.

Kernels have a baseline for each kind of processor (`test_kernel_ratios.processor`), since instructions decide
which of them run. On one that has none their ratios are shown, which is said (on GitHub as a warning of the
run), and are not judged.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = {"harness": 2.0, "kernels": 1.5}
"""Harness: in eight repetitions on two cores that 6 to 20 processes wanted, ratios lay between 0.7 and 1.31
times the baseline's, their median. What is caught is an import too many at the start, a plan or a read that
has become quadratic, a worker that copies what it should share; a change of tens of percent, which other
machines show as well, is not. Kernels: in 19 repetitions at a load of 7 to 14 on two cores ratios lay between
0.92 and 1.15 times their median."""

Ratios = dict[str, dict[str, float]]
"""Group → benchmark → times the reference. Groups: `harness`, and `kernels on …` for a kind of processor."""


def ratios(result: dict[str, Any]) -> Ratios:
    """Of a file of pytest-benchmark."""
    found: Ratios = {}
    for one in result["benchmarks"]:
        info = one["extra_info"]
        if "reference_s" in info:
            group = f"kernels on {info['processor']}" if "processor" in info else "harness"
            value = info["cpu_s"] / info["reference_s"]
            found.setdefault(group, {})[one["name"].removeprefix("test_")] = value
    return found


def problems(found: Ratios, baseline: Ratios) -> list[str]:
    """A line for each benchmark that is missing, new or too slow; groups without a baseline are left out."""
    missing = [
        f"{name}: nothing of it was measured" for name in ("harness", "kernels") if not _has(found, name)
    ]
    judged = [name for name in found if name in baseline]
    return missing + [line for name in judged for line in _problems(name, found[name], baseline[name])]


def _has(found: Ratios, kind: str) -> bool:
    return any(name.partition(" ")[0] == kind for name in found)


def _problems(group: str, found: dict[str, float], baseline: dict[str, float]) -> Iterator[str]:
    most = TOLERANCE[group.partition(" ")[0]]
    for name in sorted(set(baseline) - set(found)):
        yield f"{name}: in the baseline and not measured"
    for name in sorted(set(found) - set(baseline)):
        yield f"{name}: not in the baseline; accept it"
    for name in sorted(set(found) & set(baseline)):
        if not found[name] <= most * baseline[name]:
            yield f"{name}: {found[name] / baseline[name]:.2f} times the baseline's ratio, more than {most:g}"


def accept(found: Ratios, baseline: Ratios) -> Ratios:
    """What was measured in place of what was known; of other processors' kernels the known."""
    rounded = {
        group: {name: float(f"{value:.4g}") for name, value in sorted(values.items())}
        for group, values in found.items()
    }
    return dict(sorted({**baseline, **rounded}.items()))


def warnings(found: Ratios, baseline: Ratios, variables: Mapping[str, str] = os.environ) -> list[str]:
    """On GitHub a line for each group that was not judged: what a green job prints is read by nobody."""
    if variables.get("GITHUB_ACTIONS") != "true":
        return []
    return [
        f"::warning title=benchmarks::{name} were not judged: tests/benchmarks/{BASELINE.name} has nothing "
        "of such a processor. After `make bench-check` on this runner, `.venv/bin/python -m "
        "tests.benchmarks.ratios .venv/bench.json --accept` writes it there, to be committed"
        for name in found
        if name not in baseline
    ]


def main(words: list[str]) -> int:
    found: Ratios = ratios(json.loads(Path(words[0]).read_text()))
    baseline: Ratios = json.loads(BASELINE.read_text())
    if "--accept" in words[1:]:
        BASELINE.write_text(json.dumps(accept(found, baseline), indent=2) + "\n")
        print(f"{BASELINE.name}: {', '.join(found)}")
        return 0
    for group, values in found.items():
        known = baseline.get(group, {})
        print(group + ("" if known else ": no baseline of such a processor; shown, not judged (`--accept`)"))
        for name, value in sorted(values.items()):
            times = f"{value / known[name]:.2f} × baseline" if name in known else "new"
            print(f"  {name:28} {value:10.4g} × reference  {times}")
    for line in warnings(found, baseline):
        print(line)
    wrong = problems(found, baseline)
    print("\n".join(wrong) or "no benchmark is slower than its baseline allows")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
