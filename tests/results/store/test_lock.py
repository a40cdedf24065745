"""A folder has one holder at a time; the kernel releases it when that process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qbench.errors import ResultsError
from qbench.results.store.lock import HOLDER_FILE, lock, turn

HOLDER = """
import os, sys, time
from pathlib import Path
from qbench.results.store.lock import lock, turn
with {"lock": lock, "turn": turn}[sys.argv[1]](Path(sys.argv[2])):
    forked = sys.argv[3:] and os.fork() == 0
    if forked or not sys.argv[3:]:
        print("held", os.getpid(), flush=True)  # the child, once it has let go of what it inherited
    time.sleep(60)
"""


def _holder(*words: str) -> tuple[subprocess.Popen[str], int]:
    """A process that holds a folder, and the id of the child that it has forked since, or its own."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, *words], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    said, child = holder.stdout.readline().split()
    assert said == "held"
    return holder, int(child)


def _kill(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert holder.stdout is not None
    holder.stdout.close()


def test_a_turn_is_waited_for_and_ends_with_its_killed_holder(tmp_path: Path) -> None:
    holder, _ = _holder("turn", str(tmp_path))
    waiting = subprocess.Popen([sys.executable, "-c", HOLDER, "turn", str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert waiting.stdout is not None
        time.sleep(1.0)
        os.set_blocking(waiting.stdout.fileno(), False)
        assert not waiting.stdout.read(), "two processes have their turn at once"
        _kill(holder)
        os.set_blocking(waiting.stdout.fileno(), True)
        assert waiting.stdout.readline().startswith(b"held ")
    finally:
        waiting.kill()
        waiting.wait()
        waiting.stdout.close()  # type: ignore[union-attr]


def test_a_forked_child_does_not_carry_the_lock_on(tmp_path: Path) -> None:
    holder, child = _holder("lock", str(tmp_path), "fork")
    try:
        with pytest.raises(ResultsError, match=rf"written by process {holder.pid} on "), lock(tmp_path):
            pass
        _kill(holder)
        os.kill(child, 0)  # it still lives
        with lock(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_holder_that_has_not_signed_is_another_process(tmp_path: Path) -> None:
    with lock(tmp_path):
        (tmp_path / HOLDER_FILE).write_text('{"pid":')
        with pytest.raises(ResultsError, match="is being written by another process; wait"), lock(tmp_path):
            pass
    assert not (tmp_path / HOLDER_FILE).exists()


def test_the_folder_is_free_after_an_error(tmp_path: Path) -> None:
    for hold in (lock, turn):
        with pytest.raises(ZeroDivisionError), hold(tmp_path):
            1 / 0  # noqa: B018
        with hold(tmp_path):
            pass


def test_a_lock_that_the_system_refuses_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(ResultsError, match=r"cannot lock .*\.lock: "), lock(tmp_path):
        pass
