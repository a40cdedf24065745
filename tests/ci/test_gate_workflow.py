"""The steps of `gate.yml`, executed; once with the real gate."""

from __future__ import annotations

import json

import pytest

from tests.ci.machine import ROOT, SUITE, Machine, git, stub

GATE = {
    "inputs.suite || vars.QBENCH_GATE_SUITE || 'quickstart'": "tiny.yaml",
    "inputs.budget || vars.QBENCH_GATE_BUDGET": "",
    "inputs.against || 'HEAD^1'": "HEAD^1",
}
TIMED = """
latency: {prompt_lengths: [8], generated_tokens: 6, repetitions: 2}
threads: 1
gate: {prefill_s: 4.0, decode_s_per_token: 4.0}
"""


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_the_gate_s_exit_code_is_the_job_s(machine: Machine, code: int) -> None:
    """With a `qbench` that says so; what it then leaves is there for the comment."""
    written = 'for word in "$@"; do case "$word" in gate/*) echo "said" > "$word";; esac; done'
    stub(machine.stubs, "qbench", f'{written}; echo "$@"; exit {code}')
    machine.values |= GATE
    assert machine.run("gate.yml", "gate", skip=("Install",)) == {"Gate": 0, "Verdict": code}
    assert {path.name for path in (machine.folder / "gate").iterdir()} == {
        "junit.xml",
        "gate.json",
        "gate.md",
    }


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout: the baseline is its commit")
def test_the_gate_s_step_for_real(machine: Machine) -> None:
    """Both versions side by side, the last commit against the tree; one cell, and thresholds beyond noise."""
    (machine.folder / "timed.yaml").write_text(SUITE.replace("latency: false\n", "") + TIMED)
    machine.values |= {
        **GATE,
        "inputs.suite || vars.QBENCH_GATE_SUITE || 'quickstart'": "timed.yaml",
        "inputs.budget || vars.QBENCH_GATE_BUDGET": "60",
        "inputs.against || 'HEAD^1'": "HEAD",
    }
    assert machine.run("gate.yml", "gate", skip=("Install",)) == {"Gate": 0, "Verdict": 0}, machine.said
    found = json.loads((machine.folder / "gate/gate.json").read_text())
    verdicts = {one["metric"]: one["verdict"] for one in found["findings"] if one["gated"]}
    assert verdicts["perplexity"] == verdicts["prefill_s"] == verdicts["decode_s_per_token"] == "same"
    assert "qbench gate" in (machine.folder / "gate/gate.md").read_text()
    assert "<testsuite" in (machine.folder / "gate/junit.xml").read_text()


def asked_of_qbench(machine: Machine) -> list[str]:
    """The words that the step gives to `qbench`."""
    asked = machine.folder.parent / "asked"
    stub(machine.stubs, "qbench", f'printf "%s\\n" "$@" > {asked}')
    assert machine.run("gate.yml", "gate", skip=("Install", "Verdict")) == {"Gate": 0}, machine.said
    return asked.read_text().splitlines()


@pytest.mark.parametrize(("budget", "words"), [("", []), ("90", ["--budget", "90"])])
def test_a_suite_s_own_budget_counts_unless_another_is_named(
    machine: Machine, budget: str, words: list[str]
) -> None:
    machine.values |= {**GATE, "inputs.budget || vars.QBENCH_GATE_BUDGET": budget}
    asked = asked_of_qbench(machine)
    assert asked[: asked.index("--junit")] == ["gate", "tiny.yaml", "--against", "HEAD^1", *words]


def test_what_others_merged_meanwhile_is_not_blamed_on_a_pull_request(machine: Machine) -> None:
    """The checkout as GitHub makes it: the branch merged into a base that has moved on since it was cut."""
    folder = machine.folder
    git(folder, "checkout", "--quiet", "-b", "change")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "the change")
    git(folder, "checkout", "--quiet", "main")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "of others")
    git(folder, "checkout", "--quiet", "--detach")
    git(folder, "merge", "--quiet", "--no-ff", "--message", "merge", "change")
    machine.values |= GATE
    against = asked_of_qbench(machine)[3]
    assert git(folder, "log", "-1", "--format=%s", against) == "of others\n"


@pytest.mark.parametrize("known", ["", "77"])
@pytest.mark.parametrize("result", ["**1 worse**", None])
def test_the_comment_is_updated_rather_than_repeated(
    machine: Machine, known: str, result: str | None
) -> None:
    """With a `gh` that notes what it was asked, and knows one comment or none; also where no result is."""
    calls = machine.folder.parent / "calls"
    stub(machine.stubs, "gh", f'echo "$@" >> {calls}; case "$*" in *--jq*) echo "{known}";; esac')
    if result is not None:
        (machine.folder / "gate").mkdir()
        (machine.folder / "gate/gate.md").write_text(f"{result}\n")
    machine.values |= {
        "github.token": "x", "github.repository": "a/b", "github.event.pull_request.number": "5",
        "github.event.pull_request.head.sha": "0a1b2c3d", "github.server_url": "https://github.com",
        "github.run_id": "99",
    }  # fmt: skip
    assert machine.run("gate.yml", "comment") == {"Comment": 0}, machine.said
    asked, wrote = calls.read_text().splitlines()
    assert "repos/a/b/issues/5/comments" in asked
    assert ("PATCH repos/a/b/issues/comments/77" in wrote) == bool(known)
    assert ("POST repos/a/b/issues/5/comments" in wrote) == (not known)
    comment = (machine.folder / "comment.md").read_text()
    assert comment.startswith(
        "<!-- qbench gate -->\nOf commit 0a1b2c3d, [run](https://github.com/a/b/actions/runs/99).\n\n"
    )
    assert comment.endswith(f"{result}\n" if result else "its run says why.\n")
