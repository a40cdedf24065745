"""What `qbench gate` refuses before it works: options that mean nothing together, places that cannot be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qbench.cli.app import app
from qbench.cli.gate_options import check_places, check_together
from qbench.errors import GateError, ResultsError
from qbench.gate.ab.environment_differences import differences
from qbench.gate.ab.install import Installed
from qbench.gate.ab.versions import ROLES, Role, Version
from tests.cli.test_cli import qbench
from tests.cli.test_gate_verdicts import changed, stored
from tests.results import factory

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


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--filter", "nonsense=hqq", "filter nonsense=hqq: no cell has 'nonsense'; choose from: "),
        ("--filter", "method=absmix", "filter method=absmix: no cell has method 'absmix'; "),
        ("--accept-environment", "nonsense", "--accept-environment nonsense: neither baseline nor candidate"),
        ("--accept-environment", "cpu, thread", "--accept-environment thread: neither"),
        ("--accept-environment", "cpu,thread", "did you mean 'threads'?"),
        ("--accept-environment", "pack", "--accept-environment pack: neither"),
    ],
)
@pytest.mark.parametrize("measured", [False, True])
def test_a_word_that_names_nothing_is_an_error_against_a_baseline(
    option: str, value: str, said: str, measured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*stored(tmp_path, changed()), option, value]
    if measured:
        words[words.index("--results")] = "--store"
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert said in json.loads((tmp_path / "gate.json").read_text())["refused"]
    assert len(list(tmp_path.rglob("manifest.json"))) == 2, "no third run was begun"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--filter", "method=absmax"),
        ("--filter", "method=hqq"),
        ("--accept-environment", "cpu,packages,gpus.0.driver"),
    ],
)
def test_a_word_that_one_side_knows_is_none(
    option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = stored(tmp_path, [*changed(), factory.record("hqq")], option, value)
    assert CliRunner().invoke(app, words).exit_code == (3 if value == "method=hqq" else 0)


def test_side_by_side_a_fact_that_neither_side_has_is_an_error() -> None:
    here = {"packages": {"torch": "2.13.0"}, "python": "3.11.7"}
    sides: dict[Role, Version] = {
        name: Version(name, Installed("python", "v", ""), None, environment=here)  # type: ignore[arg-type]
        for name in ROLES
    }
    for key in ("packages", "packages.torch", "python", "threads", "cpu.vendor"):
        assert differences(sides, [key], gpu=False).deciding == ()
    with pytest.raises(GateError, match=r"packages\.torhc: .*did you mean 'packages\.torch'"):
        differences(sides, ["packages.torhc"], gpu=False)


def test_two_outputs_in_one_place_are_an_error_however_they_are_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    for other in ("z", "./z", "link/z", str(tmp_path / "link" / ".." / tmp_path.name / "z")):
        with pytest.raises(ResultsError, match=r"--junit and --json both name .*z; give each"):
            check_places({"--junit": Path("z"), "--json": Path(other), "--markdown": Path("m")}, None)
    with pytest.raises(ResultsError, match="--json and --keep both name"):
        check_places({"--json": Path("z")}, Path("link/z"))
    check_places({"--junit": Path("z"), "--json": Path("z.json")}, Path("kept"))
    words = [*stored(tmp_path, changed())[:-6], "--json", "z", "--junit", "./z"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "--junit and --json both name z" in done.stderr


def test_a_pipe_may_lie_where_no_file_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `/dev/stdout` does; of a link its target's folder counts."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "shut" / "o.json")
    (tmp_path / "shut").mkdir()
    denied = {tmp_path}
    monkeypatch.setattr("os.access", lambda place, mode: Path(place) not in denied)
    check_places({"--json": pipe, "--markdown": link}, None)
    for place, shut in ((pipe, pipe), (link, tmp_path / "shut")):
        denied.add(shut)
        with pytest.raises(ResultsError, match=r"--json .* may not write in"):
            check_places({"--json": place}, None)
    (tmp_path / "shut").rmdir()
    with pytest.raises(ResultsError, match=r"there is no folder .*shut"):
        check_places({"--json": link}, None)


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
