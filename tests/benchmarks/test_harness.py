"""What qbench itself costs: starting the server, forking a worker, an empty cell, planning, reading.

In seconds of processor time, of this process, of the server and of its workers: on a machine that others use
too, wall time tells of the others. So what merely waits is not seen here; that the parent sleeps while a cell
is timed is a test of its own (`tests/run/test_pool.py`).

`make bench-check` compares each with `REFERENCE`, measured in the same process before and after it, and that
ratio with the one of `baseline.json`; see `ratios.py`. An ordinary test run walks through each once.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qbench.results.frame import load
from qbench.run.plan import Planner
from qbench.run.pool import Pool
from qbench.run.runner import run_suite
from qbench.suite.load import parse_suite
from tests.benchmarks.ratios import problems
from tests.results import factory
from tests.run.conftest import Listening

TICKS = os.sysconf("SC_CLK_TCK")
FORKS, PLANNED, RECORDS = 20, 1000, 1000
EMPTY = """
name: empty
models: [{source: "builtin:austen-6m", dtypes: [bf16]}]
methods: [{name: absmax, num_bits: 8, strategy: channel}]
quality: false
latency: false
memory: false
energy: false
calibration: false
threads: 1
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc for workers' time")


def reference() -> str:
    """The work that others are compared with: dicts, JSON, sorting and hashing, some 20 ms."""
    rows = [
        {"name": f"row {number}", "value": number * 0.37, "at": [number, -number]} for number in range(4000)
    ]
    text = json.dumps(sorted(json.loads(json.dumps(rows)), key=lambda row: -row["value"]))
    return hashlib.sha256(text.encode()).hexdigest()


def spent(pid: int | None = None) -> float:
    """Seconds of processor time of this process, and of a server with all workers that it has seen die."""
    return time.process_time() + (0.0 if pid is None else _of_server(pid))


def _of_server(pid: int) -> float:
    """Fields 14 to 17 of proc(5) stat: its own and its children's, user and system, in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def note(
    benchmark: Any, work: Callable[[], Any], rounds: int, clock: Callable[[], float] = spent, per: int = 1
) -> None:
    """Runs `work` so many times and leaves the least time of it and of the reference around it."""
    found: list[float] = []
    references: list[float] = [_timed(reference, spent) for _ in range(3)]

    def once() -> None:
        found.append(_timed(work, clock) / per)
        references.extend(_timed(reference, spent) for _ in range(3))

    benchmark.pedantic(once, rounds=1 if benchmark.disabled else rounds, iterations=1)
    benchmark.extra_info |= {"cpu_s": min(found), "reference_s": min(references)}
    if not benchmark.disabled:
        print(
            f"\n{benchmark.name}: {min(found) * 1e3:.1f} ms, {min(found) / min(references):.3g} × reference"
        )


def _timed(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as made:
        yield made


def test_server_start(benchmark: Any) -> None:
    """Imports torch and transformers; paid once a run."""

    def start() -> None:
        with Pool() as made:
            seconds.append(_of_server(made._process.pid))

    seconds: list[float] = []
    note(benchmark, start, 2, lambda: sum(seconds))


def test_fork_of_a_worker(benchmark: Any, pool: Pool) -> None:
    """From the job's start to its reported end, of a worker that is asked for what it does not know."""

    def forks() -> None:
        for _ in range(FORKS):
            job = pool.start({"kind": "nothing"}, 60.0)
            while job.exit_code is None:
                pool.wait()
            assert job.exit_code == 1

    note(benchmark, forks, 5, lambda: spent(pool._process.pid), FORKS)


def test_empty_cell(benchmark: Any, pool: Pool, tmp_path: Path) -> None:
    """Plan, load 6 million weights, quantize them, write the record; nothing is measured."""
    pool.ceilings["cpu", 1] = {}
    suite = parse_suite(EMPTY, "empty.yaml")

    def cell() -> None:
        done = run_suite(suite, tmp_path, Listening(), fresh=True, pool=pool)
        assert [record.status for record in done.records] == ["ok"]

    note(benchmark, cell, 4, lambda: spent(pool._process.pid))


def test_planning_a_thousand_cells(benchmark: Any) -> None:
    text = EMPTY.replace("num_bits: 8", "num_bits: [2, 3, 4, 8]") + f"repetitions: {PLANNED // 4}\n"

    def plan() -> None:
        assert len(Planner(parse_suite(text, "many.yaml")).plan()) == PLANNED

    note(benchmark, plan, 3)


def test_reading_a_thousand_records(benchmark: Any, tmp_path: Path) -> None:
    count = RECORDS if not benchmark.disabled else 20
    records = [
        factory.record("absmax", cell=factory.cell("absmax", repetition=number)) for number in range(count)
    ]
    folder = factory.write_run(tmp_path, [factory.record(), *records])

    def read() -> None:
        assert len(load(folder)) == count + 1

    note(benchmark, read, 3)


def test_what_is_slower_lost_or_new_is_told() -> None:
    baseline = {"plan": 100.0, "read": 40.0, "fork": 3.0}
    assert problems({"plan": 199.0, "read": 41.0, "fork": 1.0}, baseline) == []
    assert problems({"plan": 201.0, "read": float("nan"), "start": 5.0}, baseline) == [
        "fork: in the baseline and not measured",
        "start: not in the baseline; accept it",
        "plan: 2.01 times the baseline's ratio, more than 2",
        "read: nan times the baseline's ratio, more than 2",
    ]
