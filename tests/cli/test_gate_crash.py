"""A gate that crashes: never exit code 1, which is a regression's, and never a file that looks green."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from qbench.cli.gate_output import Outputs
from qbench.gate.verdicts.finding import GateResult
from tests.gate.report.gate_results import finding, result

FILES = ("--junit", "gate.xml", "--json", "gate.json", "--markdown", "gate.md")
MAIN = "import sys; from qbench.cli import main; sys.argv[0] = 'qbench'; main()"
RED = result(finding("worse"))


def broken(fault: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`qbench` with a defect, in a process of its own."""
    command = [sys.executable, "-c", f"{fault}\n{MAIN}", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def refused_everywhere(folder: Path, said: str) -> None:
    found = json.loads((folder / "gate.json").read_text())
    assert (found["exit_code"], found["findings"]) == (2, [])
    assert said in found["refused"]
    (error,) = etree.parse(str(folder / "gate.xml")).findall(".//error")
    assert (error.get("type"), said in error.get("message")) == ("refused", True)
    text = (folder / "gate.md").read_text()
    assert text.startswith("### ⛔ qbench gate refused\n")
    assert said in text


@pytest.mark.parametrize("error", ["ValueError", "BrokenPipeError"])
def test_a_defect_while_it_works_ends_in_2_with_its_traceback(error: str, tmp_path: Path) -> None:
    # click makes 1 of a broken pipe
    fault = (
        f"import qbench.gate.command as gate\ndef gone(*_): raise {error}('odd')\ngate.with_baseline = gone"
    )
    done = broken(fault, "gate", "quickstart", "--baseline", "x", *FILES, folder=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "in gone" in done.stderr
    assert "which is no verdict" in done.stderr.splitlines()[-1]
    refused_everywhere(tmp_path, f"{error}: ")


def test_a_defect_before_the_gate_ends_in_2_as_well(tmp_path: Path) -> None:
    fault = "import sys\nsys.modules['qbench.cli.gate_output'] = None"
    done = broken(fault, "gate", "quickstart", "--baseline", "x", folder=tmp_path)
    assert done.returncode == 2
    assert "ModuleNotFoundError" in done.stderr
    assert "a defect of qbench itself" in done.stderr.splitlines()[-1]


def test_the_verdict_is_said_although_no_file_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = Outputs(tmp_path / "none" / "gate.xml", tmp_path / "gate.json", tmp_path / "none" / "gate.md")
    assert outputs.publish(RED) == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "gate regression: 1 worse"
    assert [line.partition(": N")[0] for line in said.err.splitlines()] == [
        f"qbench: cannot write {tmp_path}/none/gate.xml",
        f"qbench: cannot write {tmp_path}/none/gate.md",
    ]
    assert json.loads((tmp_path / "gate.json").read_text())["exit_code"] == 1, "the others are written"


def test_records_that_were_not_kept_are_said_beside_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert Outputs().publish(replace(RED, unkept="cannot write x.json: No space left on device")) == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "gate regression: 1 worse"
    assert said.err == "qbench: --keep: cannot write x.json: No space left on device\n"


def test_a_terminal_that_knows_no_arrow_hears_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(heard := io.BytesIO(), encoding="ascii"))
    assert Outputs().publish(RED) == 1
    assert b"12.1 ms ? 12.73 ms" in heard.getvalue()
    assert heard.getvalue().endswith(b"gate regression: 1 worse\n")


def test_an_output_that_fails_itself_keeps_no_other_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(found: GateResult) -> bytes:
        raise ZeroDivisionError("in the writer")

    monkeypatch.setattr("qbench.cli.gate_output.junit", gone)
    outputs = Outputs(tmp_path / "gate.xml", tmp_path / "gate.json", tmp_path / "gate.md")
    assert outputs.publish(RED) == 2
    said = capsys.readouterr()
    assert "gate regression" in said.out
    assert "ZeroDivisionError: in the writer" in said.err
    assert {path.name for path in tmp_path.iterdir()} == {"gate.json", "gate.md"}
