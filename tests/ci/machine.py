"""Workflows as data, and a machine on which their shell steps run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github/workflows"
NAMES = sorted(path.name for path in FOLDER.glob("*.yml"))
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
SUITE = """
name: tiny
models: [{source: "builtin:austen-6m", dtypes: [bf16]}]
methods: [{name: none}]
quality: {max_windows: 2, seqlen: 64}
latency: false
memory: false
energy: false
calibration: false
"""


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return found


def steps(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for job, said in workflow(name)["jobs"].items():
        yield from ((job, step) for step in said["steps"])


@dataclass
class Machine:
    """Runs the shell steps of a job as GitHub does: `bash -e`, outputs and summary in files."""

    folder: Path
    stubs: Path
    values: dict[str, str] = field(default_factory=dict)
    """Expression → what it is worth here."""
    summary: str = ""

    def run(self, name: str, job: str, skip: tuple[str, ...] = ()) -> dict[str, int]:
        """Every shell step of the job but those that are skipped; step → exit code, until one fails."""
        said, codes = workflow(name)["jobs"][job], {}
        for step in said["steps"]:
            if "run" not in step or step["name"] in skip:
                continue
            output, summary = self.folder.parent / "output", self.folder.parent / "summary"
            output.write_text("")
            summary.write_text("")
            own = {**said.get("env", {}), **step.get("env", {})}
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]],
                cwd=self.folder, capture_output=True, text=True, timeout=240,
                env={**os.environ, **{key: self._worth(str(value)) for key, value in own.items()},
                     "PATH": f"{self.stubs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
                     "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)},
            )  # fmt: skip
            self.said = done.stdout + done.stderr
            self.summary += summary.read_text()
            for line in output.read_text().splitlines():
                key, _, value = line.partition("=")
                self.values[f"steps.{step['id']}.outputs.{key}"] = value
            codes[step["name"]] = done.returncode
            if done.returncode:
                break
        for key, value in said.get("outputs", {}).items():
            self.values[f"needs.{job}.outputs.{key}"] = self._worth(value)
        return codes

    def _worth(self, text: str) -> str:
        """A step that set no output has an empty one; any other expression has to be known."""
        return EXPRESSION.sub(
            lambda found: self.values.get(found[1], "") if ".outputs." in found[1] else self.values[found[1]],
            text,
        )


def stub(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(0o755)


def git(folder: Path, *words: str) -> str:
    named = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    done = subprocess.run(["git", *named, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout
