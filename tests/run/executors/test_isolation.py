"""Whatever a cell does to its process, it becomes a typed record and the next cell is untouched."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import qbench
from qbench.results.store.record import Record
from tests.run.conftest import Run

pytestmark = [pytest.mark.usefixtures("misbehave"), pytest.mark.slow]

MISCHIEF = ("raise", "segfault", "exit0", "exit3", "kill", "leak", "globals")


def _by_how(records: list[Record]) -> dict[str, Record]:
    return {record.cell.params.get("how", record.cell.label): record for record in records}


def _perplexity(record: Record) -> list[float]:
    return list(record.samples["perplexity"]["nll"])


def test_each_mischief_is_typed_and_leaves_the_next_cell_untouched(run: Run) -> None:
    mischief = [{"name": "misbehave", "how": how} for how in MISCHIEF]
    between = [{"name": "absmax", "num_bits": bits} for bits in range(2, 2 + len(MISCHIEF))]
    clean = run(between, name="clean").records
    mixed = [entry for pair in zip(mischief, between, strict=True) for entry in pair]
    outcome = run(mixed, name="mixed")
    found = _by_how(outcome.records)
    reasons = {how: found[how].reason or "" for how in MISCHIEF}
    assert {found[how].status for how in MISCHIEF} == {"failed"}
    assert "broken on purpose" in reasons["raise"]
    traceback = (found["raise"].error or {})["traceback"]
    assert "RuntimeError: broken on purpose" in traceback
    assert 'File "qbench/run/worker/worker.py"' in traceback
    assert str(Path(qbench.__file__).parents[1]) not in traceback
    assert "SIGSEGV" in reasons["segfault"]
    assert "Fatal Python error: Segmentation fault" in (found["segfault"].error or {})["traceback"]
    assert "exited with code 0 without a result" in reasons["exit0"]
    assert "exited with code 3" in reasons["exit3"]
    assert "SIGKILL" in reasons["kill"]
    after = [record for record in outcome.records if record.cell.method == "absmax"]
    assert [record.status for record in after] == ["ok"] * len(after)
    assert [_perplexity(record) for record in after] == [_perplexity(record) for record in clean]
    assert {record.environment["threads"] for record in after} == {clean[0].environment["threads"]}
    peaks = [record.environment["peak_rss_bytes"] for record in after]
    assert max(peaks) < min(peaks) + 100 * 2**20, "a leak of 256 MiB reached the next cell"
    assert outcome.exit_code == 1
    assert "QBENCH_LEAKED" not in os.environ


@pytest.mark.parametrize("how", ["hang", "spin"])
def test_a_timeout_ends_the_cell_and_the_next_runs(run: Run, how: str) -> None:
    started = time.monotonic()
    outcome = run([{"name": "misbehave", "how": how}, {"name": "none"}], timeout_s=4)
    assert time.monotonic() - started < 60
    assert [record.status for record in outcome.records] == ["timeout", "ok"]
    assert outcome.records[0].reason == "stopped in phase quantize after 4 s (timeout_s)"


def test_a_grandchild_dies_with_its_cell(run: Run, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    outcome = run([{"name": "misbehave", "how": "grandchild", "note": str(note)}, {"name": "none"}])
    assert [record.status for record in outcome.records] == ["failed", "ok"]
    pid = int(note.read_text())
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)


def test_out_of_memory_is_its_own_status_with_peak_and_limit(run: Run) -> None:
    outcome = run([{"name": "misbehave", "how": "oom"}, {"name": "none"}], memory_limit="6GiB")
    first, second = outcome.records
    assert first.status == "oom"
    assert "memory_limit 6144 MiB" in (first.reason or "")
    assert first.environment["peak_rss_bytes"] > 100 * 2**20
    assert second.status == "ok"


def test_a_memory_limit_is_enforced_on_what_would_fit_the_machine(run: Run) -> None:
    leak = [{"name": "misbehave", "how": "leak"}]
    assert "past the mischief" in (run(leak, name="free").records[0].reason or "")
    limited = run(leak, name="limited", memory_limit="256MiB").records[0]
    assert limited.status == "oom", limited.reason


def test_unsupported_cells_are_skipped_by_design(run: Run) -> None:
    outcome = run([{"name": "misbehave", "note": "skip"}, {"name": "none"}])
    found = {record.cell.method: (record.status, record.reason) for record in outcome.records}
    assert found == {"misbehave": ("skipped", "asked not to run"), "none": ("ok", None)}
    assert outcome.exit_code == 0


def test_a_missing_device_is_skipped_with_its_reason(run: Run) -> None:
    outcome = run([{"name": "none"}], devices=["cpu", "cuda:77"])
    found = {record.cell.device: record for record in outcome.records}
    assert (found["cpu"].status, found["cuda:77"].status) == ("ok", "skipped")
    assert "cuda:77" in (found["cuda:77"].reason or "")


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
