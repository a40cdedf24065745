"""docs/ci.md's steps for a repository of one's own, executed: a method before and after a change."""

from __future__ import annotations

import os
import re
import site
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ci.machine import ROOT, SUITE, git, stub

URL = "https://example.org/qbench.git"
PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "mine"
version = "1.0"

[project.entry-points."qbench.methods"]
mine = "mine:Mine"

[tool.setuptools]
py-modules = ["mine"]
"""
METHOD = """
from dataclasses import dataclass

from qbench.methods.absmax import Absmax


@dataclass(frozen=True)
class Mine(Absmax):
    num_bits: int = 8

    def quantize_layer(self, weight, layer):
        return super().quantize_layer(weight, layer)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The package at two commits; the later one quantizes other weights than the model's."""
    folder = tmp_path / "work"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "suite.yaml").write_text(SUITE.replace("name: none", "name: mine"))
    for message, weight in (("before", "weight"), ("after", "weight * 1.1")):
        (folder / "mine.py").write_text(METHOD.replace("(weight, layer)\n", f"({weight}, layer)\n"))
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", message)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout: qbench is installed by git")
def test_the_package_before_a_change_is_the_baseline_of_the_package_after(repository: Path) -> None:
    """Environments that see this one's packages, so that only qbench and the package are installed."""
    (block,) = re.findall(r"```sh\n(# Install; .*?)```", (ROOT / "docs/ci.md").read_text(), re.DOTALL)
    stubs, own = repository.parent / "stubs", repository.parent / "own"
    stubs.mkdir()
    shared = "\n".join(site.getsitepackages())
    stub(
        stubs,
        "python",
        f'if [ "$1 $2" = "-m venv" ]; then {sys.executable} "$@" --without-pip; echo "{shared}" > '
        f'"$(echo "$3"/lib/python*/site-packages)/shared.pth"; else exec {own}/bin/python "$@"; fi',
    )
    subprocess.run([stubs / "python", "-m", "venv", own], check=True)
    done = subprocess.run(
        ["bash", "-e", "-c", block],
        cwd=repository, capture_output=True, text=True, timeout=240,
        env={
            **os.environ, "PATH": f"{stubs}:{own}/bin:{os.environ['PATH']}", "PYTHONPATH": "",
            "QBENCH_URL": URL, "BASE": "HEAD^", "SUITE": "suite.yaml", "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{ROOT}.insteadOf", "GIT_CONFIG_VALUE_0": URL,
        },
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    worse = [line for line in done.stdout.splitlines() if line.startswith("worse")]
    assert [line for line in worse if ": codes" in line]
    assert [line for line in worse if ": perplexity" in line]
    for place in (own, repository.parent / "before"):
        installed = {path.name for path in place.glob("lib/python*/site-packages/*.dist-info")}
        assert {name.partition("-")[0] for name in installed} >= {"mine", "qbench"}
