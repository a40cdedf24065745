"""What qbench itself costs: starting the server, forking a worker, an empty cell, planning, reading.

In seconds of processor time, of this process, of the server and of its workers; that the parent sleeps while
a cell is timed is a test of its own (`tests/run/executors/test_pool.py`).

`make bench-check` compares each with a reference, measured in the same process before and after it
(`beside.py`), and that ratio with the one of `baseline.json` (`ratios.py`). An ordinary test run walks
through each once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qbench.results.frames.frame import load
from qbench.run.executors.local.executor import LocalExecutor
from qbench.run.planning.plan import Planner
from qbench.run.runner import run_suite
from qbench.run.worker.requests import Work
from qbench.suite.load import parse_suite
from tests.benchmarks.beside import note, of_server, spent
from tests.results import factory
from tests.run.conftest import Listening

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


class Unknown(Work):
    """A job that no worker knows."""

    kind = "nothing"


UNKNOWN = Unknown()


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor() as made:
        yield made


def test_server_start(benchmark: Any) -> None:
    """Imports torch and transformers; paid once a run."""

    def start() -> None:
        with LocalExecutor() as made:
            seconds.append(of_server(made.pool._process.pid))

    seconds: list[float] = []
    note(benchmark, start, 2, lambda: sum(seconds))


def test_fork_of_a_worker(benchmark: Any, executor: LocalExecutor) -> None:
    """From the job's start to its reported end, of a worker that is asked for what it does not know."""

    def forks() -> None:
        for _ in range(FORKS):
            process = executor.pool.start(UNKNOWN, 60.0)
            while process.exit_code is None:
                executor.pool.wait()
            assert process.exit_code == 1

    note(benchmark, forks, 5, lambda: spent(executor.pool._process.pid), FORKS)


def test_empty_cell(benchmark: Any, executor: LocalExecutor, tmp_path: Path) -> None:
    """Plan, load 6 million weights, quantize them, write the record; nothing is measured."""
    executor.peak_rates["cpu", 1] = {}
    suite = parse_suite(EMPTY, "empty.yaml")

    def cell() -> None:
        done = run_suite(suite, tmp_path, Listening(), fresh=True, executor=executor)
        assert [record.status for record in done.records] == ["ok"]

    note(benchmark, cell, 4, lambda: spent(executor.pool._process.pid))


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
