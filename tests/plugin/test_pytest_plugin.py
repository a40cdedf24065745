"""The pytest plugin, in a pytest of its own: cells as tests, the fixture, nothing for who asks nothing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from qbench.results.store.folders import new_run_name, write_manifest
from qbench.run.provenance.environment import environment

pytest_plugins = ["pytester"]
PLUGIN = ("-p", "qbench.pytest_plugin")
ROOT = Path(__file__).resolve().parents[2]
SUITE = """
name: tiny
models: [{source: "builtin:austen-6m", dtypes: [bf16]}]
methods:
  - {name: none}
  - {name: absmax, label: absmax 8, num_bits: 8, strategy: channel}
  - {name: absmax, label: impossible, num_bits: 8, strategy: group, group_size: 96}
devices: [cpu, cuda]
exclude: [{device: cuda, method: absmax}]
quality: {max_windows: 2, seqlen: 64}
latency: false
memory: false
energy: false
calibration: false
"""
NAMES = ["austen-6m-none-bf16-cpu", "austen-6m-absmax_8-bf16-cpu"]
WITH_FIXTURE = """
import pytest, yaml

def test_run(qbench):
    suite = yaml.safe_load(open("suite.yaml"))
    frame = qbench.run({**suite, "methods": suite["methods"][:2], "devices": ["cpu"], "exclude": []})
    assert list(frame.status) == ["ok", "ok"]
    assert set(frame.cell_id) < set(qbench.load(qbench.results).cell_id)
    qbench.check(frame, {"perplexity_ratio": 10, "top1_agreement": 0.0})

def test_too_strict(qbench):
    frame = qbench.load(qbench.results)
    limits = {"top1_agreement": 1.5, "perplexity": 1, "decode_s_per_token": 1}
    qbench.check(frame[frame.status == "ok"], limits)

def test_a_failed_cell(qbench):
    qbench.check(qbench.load(qbench.results), {})

def test_unknown(qbench):
    with pytest.raises(ValueError, match="no metric perplexty"):
        qbench.check(qbench.load(qbench.results), {"perplexty": 1.0})
"""


def pytest_of(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*PLUGIN, *words, timeout=240)


@pytest.mark.slow
def test_cells_are_tests_and_the_fixture_measures(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", suite=SUITE)
    pytester.makepyfile(test_mine=WITH_FIXTURE)
    begun = {"environment": environment(), "ceilings": {"cpu": {}}}  # which take longer than the cells
    write_manifest(pytester.path / "kept/tiny" / new_run_name(), begun)
    asked = ("--qbench-suite", "suite.yaml", "--qbench-results", "kept")

    whole = pytest_of(pytester, *asked, "-rs", "test_mine.py")
    whole.assert_outcomes(passed=2 + 2, failed=1 + 2, skipped=1)
    text = whole.stdout.str()
    assert "group_size 96 does not divide its 256 input features" in text, "the cell's own reason"
    assert "Traceback" in text, "and its traceback"
    assert "suite.yaml:1: no device 'cuda'" in text
    assert "pytest_plugin.py" not in text, "no traceback of the plugin's"
    assert "austen-6m absmax 8 bf16 cpu: top1_agreement " in text
    assert "at least 1.5" in text
    assert "at most 1\n" in text
    assert "decode_s_per_token was not measured" in text
    assert "austen-6m impossible bf16 cpu: failed: MethodError" in text

    again = pytest_of(pytester, *asked, "-k", "absmax and not impossible", "--junitxml=cells.xml")
    again.assert_outcomes(passed=1, deselected=3)
    assert "test_mine" not in again.stdout.str(), "without other arguments the suite alone"
    assert "0 of 1 cells to measure" in again.stdout.str(), "resumed"
    assert len(list((pytester.path / "kept/tiny").iterdir())) == 1
    [case] = ET.parse(pytester.path / "cells.xml").iter("testcase")
    properties = {found.get("name"): found.get("value") for found in case.iter("property")}
    assert case.get("name") == NAMES[1]
    assert float(properties["perplexity"] or 0) > 1


def test_collecting_measures_nothing(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", suite=SUITE)
    asked = ("--qbench-suite", "suite.yaml", "--collect-only", "-q")
    listed = pytest_of(pytester, *asked, f"suite.yaml::{NAMES[1]}").stdout.str()
    assert f"suite.yaml::{NAMES[1]}" in listed
    assert NAMES[0] not in listed, "the one that was named"
    assert not (pytester.path / "results").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--qbench-suite", "quikstart"), "did you mean 'quickstart'"),
        (("--qbench-suite", "suite.yaml", "--qbench-filter", "method=absmx"), "did you mean 'absmax'"),
        (("--qbench-suite", "broken.yaml"), "broken.yaml:1"),
        (("--qbench-suite", "suite.yaml", "-n", "2"), "cells side by side would disturb each other"),
    ],
)
def test_a_mistake_is_one_message(pytester: pytest.Pytester, words: tuple[str, ...], said: str) -> None:
    pytester.makefile(".yaml", suite=SUITE, broken="nme: x")
    done = pytest_of(pytester, *words)
    assert done.ret != 0
    text = done.stdout.str() + done.stderr.str()
    assert said in text
    assert "Traceback" not in text


def test_who_asks_for_nothing_notices_nothing(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", suite=SUITE)
    pytester.makepyfile(
        """
        import sys

        def test_light():
            heavy = {"torch", "pandas", "pydantic", "yaml", "transformers", "jinja2"} & set(sys.modules)
            assert not heavy
        """
    )
    done = pytest_of(pytester)
    done.assert_outcomes(passed=1)
    said = [line for line in done.outlines if not line.startswith(("plugins: ", "rootdir: "))]
    assert not [line for line in said if "qbench" in line]


def test_loading_it_imports_pytest_alone() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import qbench.pytest_plugin\n"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('qbench')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pandas", "pydantic", "yaml", "numpy"} & {
        name.strip(" '[]\n").split(".")[0] for name in done.stdout.split(",")
    }


def test_it_is_installed_under_its_own_name() -> None:
    """pytest then knows `-p qbench.pytest_plugin` and the entry point as one plugin."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert found == {"qbench.pytest_plugin": "qbench.pytest_plugin"}
