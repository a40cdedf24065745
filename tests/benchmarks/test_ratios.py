"""What `make bench-check` says of a result, made up or measured."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import ratios
from tests.benchmarks.ratios import accept, problems

ROOT = Path(__file__).resolve().parents[2]


def test_what_is_slower_lost_or_new_is_told() -> None:
    baseline = {"harness": {"plan": 100.0, "read": 40.0, "fork": 3.0}, "kernels on x": {"int4": 1.0}}
    kernels = {"kernels on x": {"int4": 1.49}}
    assert problems({"harness": {"plan": 199.0, "read": 41.0, "fork": 1.0}, **kernels}, baseline) == []
    found = {"harness": {"plan": 201.0, "read": float("nan"), "start": 5.0}, "kernels on x": {"int4": 1.51}}
    assert problems(found, baseline) == [
        "fork: in the baseline and not measured",
        "start: not in the baseline; accept it",
        "plan: 2.01 times the baseline's ratio, more than 2",
        "read: nan times the baseline's ratio, more than 2",
        "int4: 1.51 times the baseline's ratio, more than 1.5",
    ]


def test_another_processor_s_kernels_are_not_judged_and_none_at_all_is_an_error() -> None:
    baseline = {"harness": {"plan": 1.0}, "kernels on x": {"int4": 1.0}}
    assert problems({"harness": {"plan": 1.0}, "kernels on y": {"int4": 9.0}}, baseline) == []
    assert problems({"harness": {"plan": 1.0}}, baseline) == ["kernels: nothing of it was measured"]


def test_accepting_keeps_what_was_accepted_elsewhere() -> None:
    baseline = {"harness": {"plan": 1.0, "gone": 2.0}, "kernels on x": {"int4": 1.0}}
    assert accept({"harness": {"plan": 1.23456}, "kernels on y": {"int4": 2.0}}, baseline) == {
        "harness": {"plan": 1.235}, "kernels on x": {"int4": 1.0}, "kernels on y": {"int4": 2.0},
    }  # fmt: skip


@pytest.mark.slow
def test_a_kernel_that_takes_twice_as_long_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two real runs of pytest on this machine; what the first gave is the baseline of the second."""
    found = {}
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    for name, plugin in (("before", []), ("after", ["-p", "tests.benchmarks.slowed"])):
        result = tmp_path / f"{name}.json"
        timing = (
            "--benchmark-enable",
            "--benchmark-only",
            f"--benchmark-json={result}",
            "-k",
            "int4",
        )
        words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *timing)
        subprocess.run(
            [sys.executable, *words, "tests/benchmarks/test_kernel_ratios.py"],
            cwd=ROOT, env={**alone, "OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        found[name] = ratios.ratios(json.loads(result.read_text()))
        found[name]["harness"] = {}
    wrong = problems(found["after"], found["before"])
    assert {line.partition(":")[0] for line in wrong} == {
        "kernel[int4 in groups-1]", "kernel[int4 with zeros-1]",
    }, wrong  # fmt: skip

    monkeypatch.setattr(ratios, "BASELINE", tmp_path / "baseline.json")
    ratios.BASELINE.write_text(json.dumps(found["before"]))
    assert ratios.main([str(tmp_path / "after.json")]) == 1


def test_the_baseline_holds_every_benchmark_that_is_compared() -> None:
    kept = json.loads(ratios.BASELINE.read_text())
    folder = Path(__file__).parent
    named = set(re.findall(r"def test_(\w+)\(benchmark", (folder / "test_harness.py").read_text()))
    assert set(kept["harness"]) == named
    kernels = [values for group, values in kept.items() if group.startswith("kernels on ")]
    assert kernels
    from tests.benchmarks.test_kernel_ratios import CALLS, KINDS

    for values in kernels:
        assert set(values) == {f"kernel[{kind}-{rows}]" for kind in KINDS for rows in CALLS}
