"""The steps of `nightly.yml`, executed on the embedded model; artifacts are carried by hand."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

import qbench
from tests.ci.machine import SUITE, Machine, git, stub
from tests.results import factory

SUITE_OF_NIGHT = "inputs.suite || vars.QBENCH_SUITE || 'quickstart'"


def kept(machine: Machine) -> set[str]:
    """Paths on the branch of the history, as `origin` has it."""
    origin = machine.folder.parent / "origin.git"
    return set(git(origin, "ls-tree", "-r", "--name-only", "qbench-history").split())


def next_morning(machine: Machine) -> None:
    """A fresh checkout: nothing of the job before but the branch."""
    for left in ("night", "history", "pages"):
        shutil.rmtree(machine.folder / left, ignore_errors=True)
    git(machine.folder, "worktree", "prune")
    machine.summary = ""


@pytest.mark.slow
def test_nights_are_kept_whether_they_went_well_or_not(machine: Machine) -> None:
    """Measured once; the second night is the first's run under another name, the third was cut off."""
    machine.values |= {SUITE_OF_NIGHT: "tiny.yaml"}
    (machine.folder / "results/examples").mkdir(parents=True)  # as this repository has them
    assert machine.run("nightly.yml", "measure") == {"Install": 0, "Measure": 0}, machine.said
    assert machine.values["needs.measure.outputs.code"] == "0"
    assert "constraints.txt --editable ." in (machine.folder.parent / "pip").read_text()
    assert [path.name for path in (machine.folder / "night").iterdir()] == ["tiny"], "the run and no more"
    [run] = (machine.folder / "night/tiny").iterdir()
    saved = shutil.copytree(run, machine.folder.parent / "saved")

    for night in (run.name, "20990101T000000Z-000000"):
        next_morning(machine)
        for file in shutil.copytree(saved, machine.folder / "night/tiny" / night).glob("*.json"):
            file.write_text(file.read_text().replace(run.name, night))  # a record says whose it is
        done = machine.run("nightly.yml", "publish", skip=("Draw",) if night == run.name else ())
        assert done["Keep the run"] == done["Verdict"] == 0, machine.said
    assert {Path(name).parts[2] for name in kept(machine)} == {run.name, "20990101T000000Z-000000"}
    assert not any(name.endswith("tiny.yaml") for name in kept(machine)), "nothing of the code"
    assert len(qbench.history(machine.folder / "history/results", "perplexity")) == 2
    assert "austen-6m none bf16 cpu" in machine.summary
    assert {path.name for path in (machine.folder / "pages").iterdir()} == {
        "leaderboard.html", "trends.html", "history.parquet",
    }  # fmt: skip

    next_morning(machine)  # out of time before its cell was done: a manifest, no record, no exit code
    cut = machine.folder / "night/tiny/20990102T000000Z-000000"
    shutil.copytree(saved, cut)
    for record in cut.glob("*.json"):
        if record.name != "manifest.json":
            record.unlink()
    machine.values["needs.measure.outputs.code"] = ""
    assert machine.run("nightly.yml", "publish", skip=("Install",)) == {
        "Keep the run": 0, "Draw": 0, "Verdict": 2,
    }, machine.said  # fmt: skip
    assert "::error::the night was not measured, or not to its end: exit code none" in machine.said
    assert f"results/tiny/{cut.name}/manifest.json" in kept(machine)
    frame = qbench.history(machine.folder / "history/results", "perplexity")
    assert list(frame.run[frame.value.isna()]) == [cut.name], "a gap"


def test_a_night_that_measured_nothing_is_red_and_noted(machine: Machine) -> None:
    machine.values |= {SUITE_OF_NIGHT: "nowhere.yaml"}
    assert machine.run("nightly.yml", "measure", skip=("Install",)) == {"Measure": 1}
    assert "no such file" in machine.said
    assert machine.values["needs.measure.outputs.code"] == "2"
    assert machine.run("nightly.yml", "publish", skip=("Install",)) == {
        "Keep the run": 0, "Draw": 0, "Verdict": 2,
    }, machine.said  # fmt: skip
    assert "no night has measured anything yet" in machine.summary
    logged = git(machine.folder.parent / "origin.git", "log", "--format=%s", "qbench-history")
    assert re.fullmatch(r"Night of [\d-]{10}: exit code 2\n", logged)


def test_a_night_of_skipped_cells_is_red_noted_and_kept(machine: Machine) -> None:
    """Its suite asks for a GPU, and there is none: no error of `qbench run`."""
    (machine.folder / "gpu.yaml").write_text(SUITE.replace("tiny", "gpu") + "devices: [cuda]\n")
    machine.values |= {SUITE_OF_NIGHT: "gpu.yaml"}
    assert machine.run("nightly.yml", "measure", skip=("Install",)) == {"Measure": 1}
    assert "1 skipped" in machine.said
    assert machine.values["needs.measure.outputs.code"] == "3"
    skip = ("Install", "Draw")
    assert machine.run("nightly.yml", "publish", skip=skip) == {"Keep the run": 0, "Verdict": 3}, machine.said
    assert "::error::nothing was measured: no cell ended well" in machine.said
    assert any(name.endswith("manifest.json") for name in kept(machine))
    logged = git(machine.folder.parent / "origin.git", "log", "-1", "--format=%s", "qbench-history")
    assert logged.endswith("exit code 3\n")


@pytest.mark.parametrize(
    ("said", "statuses", "code"),
    [
        ("0", ("ok",), "0"),
        ("1", ("ok", "failed"), "1"),
        ("1", ("failed", "skipped"), "3"),
        ("130", ("ok",), "130"),
    ],
)
def test_what_a_run_says_counts_where_a_cell_ended_well(
    machine: Machine, said: str, statuses: tuple[str, ...], code: str
) -> None:
    """The run is made up; `qbench show` reads it for real."""
    machine.values |= {SUITE_OF_NIGHT: "quickstart"}
    records = [factory.record() if one == "ok" else factory.failed(one, one) for one in statuses]
    factory.write_run(machine.folder / "night", records)
    stub(
        machine.stubs, "qbench",
        f'[ "$1" != run ] || exit {said}\nexec {sys.executable} -m qbench "$@"',
    )  # fmt: skip
    done = machine.run("nightly.yml", "measure", skip=("Install",))
    assert machine.values["needs.measure.outputs.code"] == code
    assert done == {"Measure": int(int(code) > 1)}


@pytest.mark.parametrize(("code", "said"), [("1", "some cells failed"), ("130", "exit code 130")])
def test_a_night_that_went_wrong_is_published_then_red(machine: Machine, code: str, said: str) -> None:
    machine.values["needs.measure.outputs.code"] = code
    skip = ("Install", "Keep the run", "Draw")
    assert machine.run("nightly.yml", "publish", skip=skip) == {"Verdict": int(code)}
    assert f"::error::{said}" in machine.said or said in machine.said
