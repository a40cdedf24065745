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


HARNESS = {"name": "test_plan", "extra_info": {"cpu_s": 2.0, "reference_s": 1.0}}
KERNEL = {"name": "test_int4", "extra_info": {"cpu_s": 1.0, "reference_s": 1.0, "processor": "y"}}


@pytest.mark.parametrize(
    ("github", "known", "warned"),
    [("true", "kernels on x", 1), ("true", "kernels on y", 0), ("", "kernels on x", 0)],
)
def test_kernels_that_were_not_judged_are_a_warning_on_github(
    github: str, known: str, warned: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("GITHUB_ACTIONS", github)
    monkeypatch.setattr(ratios, "BASELINE", tmp_path / "baseline.json")
    ratios.BASELINE.write_text(json.dumps({"harness": {"plan": 2.0}, known: {"int4": 1.0}}))
    result = tmp_path / "bench.json"
    result.write_text(json.dumps({"benchmarks": [HARNESS, KERNEL]}))
    assert ratios.main([str(result)]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert len(said) == warned
    for line in said:
        assert line.startswith("::warning title=benchmarks::kernels on y were not judged: ")
        assert ".venv/bench.json --accept` writes it" in line

    assert ratios.main([str(result), "--accept"]) == 0
    capsys.readouterr()
    assert ratios.main([str(result)]) == 0
    assert "::" not in capsys.readouterr().out, "as the warning says"


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
