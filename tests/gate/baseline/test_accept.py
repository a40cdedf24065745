"""An acceptance where another one is under way, and where nothing can be written."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qbench.errors import ResultsError
from qbench.gate.baseline.baseline import accept, baseline_file, read_baseline
from qbench.results.store.atomic import write_bytes_atomic
from qbench.results.store.folders import Run, only_run, write_manifest
from tests.results import factory

RECORDS = [factory.record(), factory.record("absmax")]


def test_a_place_that_cannot_be_is_a_clear_error(tmp_path: Path) -> None:
    run = only_run(factory.write_run(tmp_path / "a", RECORDS))
    (tmp_path / "file").write_text("")
    path = baseline_file(tmp_path / "file", "quickstart")
    with pytest.raises(ResultsError, match=f"cannot make the folder {path.parent}: .*name another place"):
        accept(run, path, "why", allow_failed=True)
    with pytest.raises(ResultsError, match=f"cannot make the folder {tmp_path}/file/run"):
        write_manifest(tmp_path / "file" / "run", {})
    with pytest.raises(ResultsError, match=r"cannot write .*: Not a directory"):
        write_bytes_atomic(tmp_path / "file" / "gate.json", b"")
    with pytest.raises(ResultsError, match=r"(?i)name too long"):
        accept(run, baseline_file(tmp_path, "quickstart", "x" * 300), "why", allow_failed=True)


SLOW = """
import pathlib, sys, time
from qbench.gate.baseline import baseline
from qbench.results.store.folders import only_run
folder, write = pathlib.Path(sys.argv[1]), baseline.write_bytes_atomic
def slowly(path, content):
    (folder / "reading").touch()
    time.sleep(1.0)
    write(path, content)
baseline.write_bytes_atomic = slowly
path = baseline.baseline_file(folder, "quickstart")
baseline.accept(only_run(folder / "a"), path, "the slow one", allow_failed=True)
"""


def test_two_acceptances_at_once_are_both_kept(tmp_path: Path) -> None:
    run = only_run(factory.write_run(tmp_path / "a", RECORDS))
    slow = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)])
    deadline = time.monotonic() + 60
    while not (tmp_path / "reading").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    path = baseline_file(tmp_path, "quickstart")
    assert not path.exists(), "the slow one has read, and has not written"
    accept(run, path, "the quick one", allow_failed=True)
    assert slow.wait(timeout=60) == 0
    assert [one.reason for one in read_baseline(path).acceptances] == ["the slow one", "the quick one"]
    assert [file.name for file in path.parent.iterdir()] == [path.name], "no lock is left to be committed"


def _accepts(run: Run, path: Path, process: int) -> None:
    for number in range(10):
        accept(run, path, f"{process}.{number}", allow_failed=True)


def test_none_of_many_acceptances_is_lost(tmp_path: Path) -> None:
    run = only_run(factory.write_run(tmp_path / "a", RECORDS))
    path = baseline_file(tmp_path, "quickstart")
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_accepts, args=(run, path, process)) for process in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    reasons = [one.reason for one in read_baseline(path).acceptances]
    assert sorted(reasons) == [f"{process}.{number}" for process in range(4) for number in range(10)]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_acceptance_that_is_refused_gives_its_turn_back(tmp_path: Path) -> None:
    run = only_run(factory.write_run(tmp_path / "a", RECORDS))
    path = baseline_file(tmp_path, "quickstart")
    accept(run, path, "first numbers", allow_failed=True)
    whole = path.read_bytes()
    path.write_text("{")
    with pytest.raises(ResultsError, match="cannot be used"):
        accept(run, path, "why", allow_failed=True)
    path.write_bytes(whole)
    assert len(accept(run, path, "why", allow_failed=True).acceptances) == 2


def test_cells_are_dropped_only_where_that_is_said(tmp_path: Path) -> None:
    path = baseline_file(tmp_path, "quickstart")
    whole, part = (
        only_run(factory.write_run(tmp_path / name, records))
        for name, records in (("a", RECORDS), ("b", RECORDS[:1]))
    )
    first = accept(whole, path, "first", allow_failed=True)
    kept = path.read_bytes()
    with pytest.raises(ResultsError, match=r"has 1 cells that .* has not: austen-6m absmax .*--drop-cells"):
        accept(part, path, "a filter was left on", allow_failed=True)
    assert path.read_bytes() == kept
    second = accept(part, path, "absmax is gone", allow_failed=True, drop_cells=True)
    assert (len(second.cells), len(second.acceptances)) == (1, 2)
    assert first.changes_from(None) == "2 new, 0 dropped, 0 changed"
    assert second.changes_from(first) == "0 new, 1 dropped, 0 changed"
    assert first.changes_from(second) == "1 new, 0 dropped, 0 changed"
