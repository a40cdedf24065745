"""What `qbench gate` refuses before it works: options that mean nothing together, places that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qbench.cli.app import app
from qbench.cli.gate_options import check_places, check_together
from qbench.errors import GateError, ResultsError
from tests.cli.test_cli import qbench

AGAINST, PYTHON, STORED = "--against", "--baseline-python", "--baseline"
ONLY_STORED = ("--results", "--store", "--gate-timed")
ONLY_TIMED = ("--budget", "--seed", "--keep")


def complaint(baseline: str, *options: str) -> str | None:
    try:
        check_together({baseline: "x"}, dict.fromkeys(options, "x"))
    except GateError as error:
        return str(error)
    return None


@pytest.mark.parametrize("option", ONLY_STORED)
@pytest.mark.parametrize("baseline", [AGAINST, PYTHON])
def test_what_means_nothing_side_by_side_is_an_error(baseline: str, option: str) -> None:
    said = complaint(baseline, option)
    assert said is not None
    assert said.startswith(f"{option} goes with --baseline, and not with {baseline}: ")
    assert complaint(STORED, option) is None


@pytest.mark.parametrize("option", ONLY_TIMED)
def test_what_means_nothing_against_a_stored_baseline_is_an_error(option: str) -> None:
    said = complaint(STORED, option)
    assert said is not None
    assert said.startswith(f"{option} goes with --against or --baseline-python, and not with --baseline: ")
    assert complaint(AGAINST, option) is None
    assert complaint(PYTHON, option) is None


def test_where_a_run_is_made_means_nothing_to_a_finished_one() -> None:
    said = complaint(STORED, "--results", "--store")
    assert said is not None
    assert "leave one out" in said
    assert complaint(STORED, "--results", "--gate-timed") is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--baseline", "x", "--keep", "kept"), "--keep goes with --against"),
        (("--baseline", "x", "--budget", "5"), "--budget goes with --against"),
        (("--baseline", "x", "--seed", "0"), "--seed goes with --against"),
        (("--against", "HEAD", "--gate-timed"), "--gate-timed goes with --baseline"),
        (("--against", "HEAD", "--store", "results"), "--store goes with --baseline"),
    ],
)
def test_the_command_line_hands_every_option_over(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["gate", "quickstart", *words, "--json", str(tmp_path / "gate.json")])
    assert done.exit_code == 2
    assert said in done.stderr
    assert said in json.loads((tmp_path / "gate.json").read_text())["refused"]


def test_places_are_looked_at_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, place, said in (
        ("--junit", tmp_path, "is a folder; name a file"),
        ("--json", tmp_path / "none" / "o.json", "there is no folder"),
        ("--markdown", tmp_path / "file" / "o.md", "there is no folder"),
        ("--json", tmp_path / ("x" * 300) / "o.json", "name too long"),
    ):
        with pytest.raises(ResultsError, match=f"{name} .*(?i:{said})"):
            check_places({name: place}, None)
    for keep in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ResultsError, match=r"--keep .* is no folder; name another place"):
            check_places({}, keep)
    check_places({"--json": tmp_path / "o.json", "--junit": None}, tmp_path / "made" / "later")
    assert not (tmp_path / "made").exists()


def test_a_place_where_this_user_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda place, mode: Path(place) != tmp_path)  # for root all is allowed
    with pytest.raises(ResultsError, match=r"--keep .* may not write in"):
        check_places({}, tmp_path / "kept")


def test_a_keep_that_cannot_be_is_said_before_the_budget_is_spent(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ("--baseline-python", "no-such-python", "--keep", "file", "--json", "gate.json")
    done = qbench("gate", "quickstart", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "--keep file" in done.stderr
    assert "--keep file" in json.loads((tmp_path / "gate.json").read_text())["refused"]


def test_a_file_that_cannot_be_written_does_not_mask_the_first_mistake(tmp_path: Path) -> None:
    done = qbench("gate", "nosuch", "--baseline", "x", "--junit", "none/j.xml", cwd=tmp_path)
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert "nosuch" in first
    assert "cannot write none/j.xml" in second
