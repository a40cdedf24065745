"""The GitLab example of docs/ci.md: whole, and its nights executed with a `qbench` that leaves files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.ci.machine import ROOT, Machine, git, steps, stub
from tests.results import factory

QBENCH = """
case "$1 $CODE" in
  "run "*) mkdir -p night/tiny/$NIGHT; echo '{}' > night/tiny/$NIGHT/manifest.json; exit "$CODE";;
  report*) ls history/results/tiny > pages/leaderboard.html;;
esac
"""


def example() -> dict[str, Any]:
    text = (ROOT / "docs/ci.md").read_text()
    [block] = re.findall(r"```yaml\n# \.gitlab-ci\.yml\n(.*?)```", text, re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(block)
    return found


def script(job: str) -> str:
    """All lines, as a runner joins them; lists come from the shared installation."""
    entries = example()[job]["script"]
    return "\n".join(line for entry in entries for line in (entry if isinstance(entry, list) else [entry]))


def job(machine: Machine, name: str, **known: str) -> int:
    """Its exit code, under the shell options of GitLab's runner."""
    origin = str(machine.folder.parent / "origin.git")
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script(name)], cwd=machine.folder, capture_output=True, text=True,
        env={**os.environ, **example()["variables"], "CI_REPOSITORY_URL": origin,
             "PATH": f"{machine.stubs}:{os.environ['PATH']}", **known},
    )  # fmt: skip
    machine.said = done.stdout + done.stderr
    return done.returncode


@pytest.fixture
def gitlab(machine: Machine) -> Machine:
    stub(machine.stubs, "pip", "true")
    stub(machine.stubs, "qbench", QBENCH)
    return machine


def morning(machine: Machine) -> None:
    for left in ("night", "history", "pages"):
        shutil.rmtree(machine.folder / left, ignore_errors=True)
    (machine.folder / "code.txt").unlink(missing_ok=True)
    git(machine.folder, "worktree", "prune")


def test_it_is_whole() -> None:
    found = example()
    jobs = {name: said for name, said in found.items() if isinstance(said, dict) and "script" in said}
    assert set(jobs) == {"gate", "nightly", "publish"}
    assert {said["stage"] for said in jobs.values()} == set(found["stages"])
    for name in jobs:
        assert subprocess.run(["bash", "-n", "-c", script(name)]).returncode == 0
        assert set(re.findall(r"qbench (\w+)", script(name))) <= {"run", "show", "gate", "history", "report"}
        assert "|| true" not in script(name), "no error is taken for an empty history"
    assert jobs["gate"]["artifacts"]["reports"]["junit"] == "gate/junit.xml"
    assert jobs["publish"]["rules"] == [{"if": '$CI_PIPELINE_SOURCE == "schedule"', "when": "always"}]


def test_nights_stay_on_the_branch_the_red_ones_too(gitlab: Machine) -> None:
    for night, code in (("1", "0"), ("2", "1"), ("3", "0")):
        morning(gitlab)
        assert job(gitlab, "nightly", NIGHT=night, CODE=code) == 0, gitlab.said
        assert job(gitlab, "publish") == int(code), gitlab.said
    assert (gitlab.folder / "pages/leaderboard.html").read_text().split() == ["1", "2", "3"]
    origin = gitlab.folder.parent / "origin.git"
    kept = git(origin, "ls-tree", "-r", "--name-only", "qbench-history").split()
    assert kept == [f"results/tiny/{night}/manifest.json" for night in "123"]

    morning(gitlab)  # cut off before it could say a code
    assert job(gitlab, "publish") == 2
    assert git(origin, "log", "-1", "--format=%s", "qbench-history").endswith("exit code 2\n")


@pytest.mark.parametrize(
    ("said", "statuses", "code"),
    [("0", ("ok", "skipped"), 0), ("0", ("skipped",), 3), ("1", ("failed",), 3), ("1", ("ok", "failed"), 1)],
)
def test_a_night_without_a_cell_that_ended_well_is_red(
    machine: Machine, said: str, statuses: tuple[str, ...], code: int
) -> None:
    """The run is made up; `qbench show` reads it for real."""
    stub(machine.stubs, "pip", "true")
    records = [factory.record() if one == "ok" else factory.failed(one, one) for one in statuses]
    factory.write_run(machine.folder / "night", records)
    show = f'case $1 in run) exit {said};; show) exec {sys.executable} -m qbench "$@";; esac'
    stub(machine.stubs, "qbench", show)
    assert job(machine, "nightly") == 0, machine.said
    assert (machine.folder / "code.txt").read_text() == f"{code}\n"
    assert job(machine, "publish") == code, machine.said


def test_both_ask_in_the_same_words() -> None:
    [step] = [step for _, step in steps("nightly.yml") if step.get("id") == "measure"]
    lines = [line for line in step["run"].splitlines() if "qbench" in line]
    assert len(lines) == 2
    assert set(lines) <= set(script("nightly").splitlines())


def test_a_server_that_does_not_answer_costs_no_history(gitlab: Machine) -> None:
    assert job(gitlab, "nightly", NIGHT="1", CODE="0") == 0
    nowhere = str(gitlab.folder.parent / "nowhere.git")
    assert job(gitlab, "publish", CI_REPOSITORY_URL=nowhere) != 0
    assert not (gitlab.folder / "history").exists()


@pytest.mark.parametrize(("target", "base"), [("", "cut"), ("tip", "tip")])
def test_what_a_merge_request_is_compared_with(gitlab: Machine, target: str, base: str) -> None:
    asked = gitlab.folder.parent / "asked"
    stub(gitlab.stubs, "qbench", f'echo "$@" > {asked}')
    shas = {"CI_MERGE_REQUEST_TARGET_BRANCH_SHA": target, "CI_MERGE_REQUEST_DIFF_BASE_SHA": "cut"}
    assert job(gitlab, "gate", **shas) == 0, gitlab.said
    assert f"--against {base} --junit" in asked.read_text()
