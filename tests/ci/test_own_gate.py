"""`.ci/gate` as a whole: on the processor of its baseline, on another one, and where nothing was measured."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from qbench.gate.baseline.baseline import Baseline, accept, read_baseline
from qbench.gate.baseline.baseline_cell import BaselineCell
from qbench.results.store.folders import only_run
from tests.ci.machine import ROOT, stub

FEW = [{"name": "none"}, {"name": "zeropoint", "num_bits": 4, "strategy": "group", "group_size": 64}]
OTHER = {
    "cpu.vendor": "CentaurHauls",
    "cpu.model": "VIA Nano",
    "cpu.family": "6 1 1",
    "cpu.flags": "fpu sse4_1 sse4_2 avx avx2 fma",
}


def environment(**changes: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OMP_")}
    return {**clean, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **changes}


@dataclass
class Tree:
    """The script, a suite of two cells of the real one, and a run of it."""

    folder: Path
    run: Path
    baseline: Path
    """Accepted of that run, so of this machine."""

    def gate(self, baseline: Path) -> tuple[int, str]:
        """Exit code, and all that the script says."""
        words, known = [self.folder / ".ci/gate"], environment(BASELINE=str(baseline))
        done = subprocess.run(words, env=known, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def measuring(self, said: str) -> None:
        """Replaces `qbench run`; the other verbs stay the real ones."""
        (self.folder / ".venv/bin").mkdir(parents=True, exist_ok=True)
        real = f'exec {sys.executable} -m qbench "$@"'
        stub(self.folder / ".venv/bin", "qbench", f'if [ "$1" = run ]; then {said}; else {real}; fi')

    def changed(self, *changes: Callable[[Baseline], Baseline]) -> Path:
        """A copy of the baseline with something else in it, under a right checksum."""
        found = read_baseline(self.baseline)
        for change in changes:
            found = change(found)
        target = self.folder / "changed.json"
        target.write_bytes(found.to_bytes())
        return target


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    folder = tmp_path_factory.mktemp("own")
    for made in (".ci", "suites"):
        (folder / made).mkdir()
    shutil.copy(ROOT / ".ci/gate", folder / ".ci/gate")
    head, rest = (ROOT / "suites/gate.yaml").read_text().split("methods:\n", 1)
    methods = yaml.safe_dump({"methods": FEW}, sort_keys=False)
    (folder / "suites/gate.yaml").write_text(f"{head}{methods}{rest[rest.index('quality:') :]}")
    words = ("run", "suites/gate.yaml", "--results", "results", "--fresh", "--quiet")
    subprocess.run([sys.executable, "-m", "qbench", *words], cwd=folder, env=environment(), check=True)
    run = only_run(folder / "results")
    accept(run, folder / "baseline.json", "measured here")
    return Tree(folder, run.folder, folder / "baseline.json")


def elsewhere(baseline: Baseline) -> Baseline:
    """The cell as measured on another maker's processor: other kernels, codes and rounding."""
    known = {key: text for key, text in baseline.environment.items() if not key.startswith("cpu.")}
    cells = {name: replace(cell, **other_rounding(cell)) for name, cell in baseline.cells.items()}
    return replace(baseline, environment={**known, **OTHER}, cells=cells)


def other_rounding(cell: BaselineCell) -> dict[str, Any]:
    layers = {
        name: replace(layer, kernels="dequant_gemm 1-128", codes="0" * 16)
        for name, layer in cell.layers.items()
    }
    return {"values": {**cell.values, "perplexity": cell.values["perplexity"] * 1.002}, "layers": layers}


def better_once(baseline: Baseline) -> Baseline:
    """Perplexities were a percent lower, so that today's are a regression."""
    cells = {
        name: replace(cell, values={**cell.values, "perplexity": cell.values["perplexity"] / 1.01})
        for name, cell in baseline.cells.items()
    }
    return replace(baseline, cells=cells)


def other_torch(baseline: Baseline) -> Baseline:
    return replace(baseline, environment={**baseline.environment, "packages.torch": "2.0.0"})


@pytest.mark.slow
def test_on_another_processor_all_of_it_runs_and_is_green(tree: Tree) -> None:
    """The whole gate, from measuring to the second comparison; only the baseline is replaced."""
    shutil.rmtree(tree.folder / ".venv", ignore_errors=True)
    code, said = tree.gate(tree.changed(elsewhere))
    assert code == 0, said
    assert said.startswith("another processor than the baseline's: kernels and codes are not compared\n")
    assert "accepted: cpu.vendor" in said
    assert "accepted: cpu.flags" in said


@pytest.mark.slow
def test_what_is_gated_here_and_elsewhere(tree: Tree) -> None:
    tree.measuring(f"echo {tree.run}/leaderboard.html")
    code, said = tree.gate(tree.baseline)
    assert code == 0, said
    assert "another processor" not in said

    code, said = tree.gate(
        tree.changed(lambda found: replace(elsewhere(found), environment=found.environment))
    )
    assert code == 1, "on this processor, kernels and codes count"
    assert "codes" in said
    assert "kernels" in said

    code, said = tree.gate(tree.changed(elsewhere, better_once))
    assert code == 1, "quality counts on any processor"
    assert "worse" in said
    assert "perplexity" in said

    for differing in (tree.changed(other_torch), tree.changed(elsewhere, other_torch)):
        code, said = tree.gate(differing)
        assert code == 2, "other libraries are never accepted in passing"
        assert "packages.torch" in said


@pytest.mark.parametrize(
    ("run", "code"), [("exit 2", 2), ("exit 130", 130), ("exit 1", 2), ("echo nowhere/page.html; exit 1", 2)]
)
def test_where_nothing_was_measured_no_regression_is_claimed(tree: Tree, run: str, code: int) -> None:
    """1 alone is what failed cells end with, and then there is a run to judge."""
    tree.measuring(run)
    assert tree.gate(tree.baseline)[0] == code
