"""A gate that is interrupted, killed or asked for what cannot be: no process is left, and it is said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from qbench.errors import GateError
from qbench.gate.ab import install
from tests.run.conftest import QUICK

ROOT = Path(__file__).resolve().parents[3]
LATENCY = {"prompt_lengths": [8], "generated_tokens": 6, "repetitions": 2}
UNTIMED = {"prefill_s": False, "decode_s_per_token": False}


def processes_of(marker: str) -> list[int]:
    """Processes whose environment holds the marker."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment, state = (entry / "environ").read_bytes(), (entry / "stat").read_text()
            except OSError:
                continue
            if marker.encode() in environment and state.rpartition(")")[2].split()[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.fixture
def started(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """`qbench gate` amid its laps; its temporary files lie under tmp_path/temporary."""
    path = tmp_path / "tiny.yaml"
    undecidable = {"gate": {"prefill_s": 1.000001, "decode_s_per_token": 1.000001}}
    whole = {**QUICK, "methods": [{"name": "none"}], "latency": LATENCY, "threads": 1, **undecidable}
    path.write_text(yaml.safe_dump(whole))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [
        sys.executable,
        "-m",
        "qbench",
        "gate",
        str(path),
        *request.param,
        "--json",
        str(tmp_path / "o.json"),
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=_interruptible,
        env={**os.environ, "TMPDIR": str(temporary), "QBENCH_TEST_MARKER": str(tmp_path)},
    )  # fmt: skip
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith("pass 1"):
            break
    else:
        raise AssertionError("".join(seen))
    yield process
    process.kill()
    process.wait()
    process.stderr.close()


def _interruptible() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test set in the background ignores it


def _gone(marker: str) -> bool:
    deadline = time.monotonic() + 15
    while processes_of(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes_of(marker)


NEEDS_GIT = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")


@pytest.mark.slow
@NEEDS_GIT
@pytest.mark.parametrize("started", [["--against", "HEAD"]], indirect=True)
def test_an_interrupt_ends_with_130_and_leaves_nothing(
    started: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert len(processes_of(str(tmp_path))) == 5, "the parent, two servers, two workers"
    started.send_signal(signal.SIGINT)
    assert started.wait(timeout=30) == 130
    assert _gone(str(tmp_path))
    left = [path.name for path in (tmp_path / "temporary").iterdir()]
    assert not [name for name in left if name.startswith("qbench")], "torch may leave a folder of its own"
    assert not (tmp_path / "o.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("started", [["--baseline-python", sys.executable]], indirect=True)
def test_a_killed_gate_leaves_no_process(started: subprocess.Popen[str], tmp_path: Path) -> None:
    assert len(processes_of(str(tmp_path))) == 5
    started.kill()
    started.wait()
    assert _gone(str(tmp_path))


def test_the_command_line_says_what_it_lacks(tmp_path: Path) -> None:
    report = tmp_path / "o.json"
    for words, said in (
        ([], "no baseline is named"),
        (["--against", "HEAD", "--baseline", "x"], "name several baselines"),
        (["--against", "HEAD", "--candidate-python", "x"], "goes with --baseline-python"),
        (["--against", "HEAD", "--results", "x"], "--results goes with --baseline"),
    ):
        command = [sys.executable, "-m", "qbench", "gate", "quickstart", *words, "--json", str(report)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert said in done.stderr
        assert said in json.loads(report.read_text())["refused"]


def test_two_environments_of_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="no interpreter"):
        install.existing(str(tmp_path / "no" / "python"))
