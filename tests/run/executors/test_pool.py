"""The warm server: forkable, fast to start a worker, asleep while it waits, and gone with its parent."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from qbench.run.executors.local.executor import LocalExecutor
from qbench.run.executors.local.pool import Pool
from qbench.run.executors.local.process import WorkerProcess
from qbench.run.worker.events import Done, Failure, Started, Want, WireEvent
from qbench.run.worker.requests import Go, MeasurePeakRates, Work

PEAK_RATES = MeasurePeakRates("cpu")


class Nothing(Work):
    """A job that no worker knows."""

    kind = "nothing"


def _until(pool: Pool, job: WorkerProcess, event: type[WireEvent]) -> WireEvent:
    while job.exit_code is None:
        pool.wait()
        while job.events:
            said = job.events.popleft()
            if isinstance(said, event):
                return said
    raise AssertionError(f"the worker ended without {event.__name__}: {job.log_tail()}")


def test_the_server_has_one_thread_and_starts_workers_in_an_instant() -> None:
    with closing(Pool()) as pool:
        assert pool.facts.threads == 1, "a process with threads must not fork"
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            job = pool.start(Nothing(), 60)
            _until(pool, job, Started)
            seconds.append(time.perf_counter() - started)
            _until(pool, job, Failure)
        assert statistics.median(seconds) < 0.3
        assert statistics.median(seconds) < pool.facts.seconds / 5


def test_the_parent_sleeps_while_a_worker_measures() -> None:
    with closing(Pool()) as pool:
        job = pool.start(PEAK_RATES, 60)
        _until(pool, job, Want)
        before, started = time.process_time(), time.perf_counter()
        job.send(Go())
        _until(pool, job, Done)
        used, elapsed = time.process_time() - before, time.perf_counter() - started
    assert elapsed > 0.3
    assert used < 0.02 * elapsed + 0.01


def test_workers_and_server_die_with_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from qbench.run.executors.local.pool import Pool\n"
        "from qbench.run.worker.requests import MeasurePeakRates\n"
        "pool = Pool()\n"
        "job = pool.start(MeasurePeakRates('cpu'), 600)\n"
        "while job.pid is None: pool.wait()\n"
        "print(pool._process.pid, job.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2, "the parent has a server and a worker"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in pids if _alive(pid)] == []


def test_a_worker_that_never_answers_is_killed_at_its_deadline() -> None:
    with closing(Pool()) as pool:
        job = pool.start(PEAK_RATES, 0.5)  # it waits for a word to go that never comes
        started = time.monotonic()
        while job.exit_code is None:
            pool.wait()
        assert 0.3 < time.monotonic() - started < 5
        assert job.timed_out
        assert job.exit_code == -signal.SIGKILL


def test_a_death_that_is_heard_before_the_last_words_leaves_no_ear_behind() -> None:
    with closing(Pool()) as pool:
        for _ in range(3):
            job = pool.start(Nothing(), 60)
            time.sleep(1)  # it speaks and dies; both wait to be heard
            while job.exit_code is None:
                pool._control_news()  # the server's word first
            assert [type(event) for event in job.events] == [Started, Failure]
            assert len(pool._selector.get_map()) == 1


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(Exception, match="no torch today"):
        Pool()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_worker_never_reads_a_source_that_was_edited_since_the_server_began(
    executor: LocalExecutor,
) -> None:
    """All of qbench that a cell can need is imported before the first fork."""
    from qbench.run.executors.local import server

    loaded = set(executor.facts.modules)
    asked = set(server._own_modules())
    assert {
        "qbench.methods.gptq",
        "qbench.quant.algorithms.gptq",
        "qbench.probes.quality.measure.divergence",
    } <= asked
    assert asked <= loaded
