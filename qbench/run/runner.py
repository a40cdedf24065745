"""Running a suite: plan, resume, schedule, record. The parent's side; it never computes on a model."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qbench.fields import Rule
from qbench.results.store.folders import Run, Store, lock, new_run_name
from qbench.results.store.record import Record
from qbench.run import manifest
from qbench.run.bases import keep_base_outputs
from qbench.run.executors.local.pool import Pool
from qbench.run.executors.local.scheduler import Listener, Schedule
from qbench.run.planning.plan import Planned, Planner
from qbench.run.provenance.environment import environment
from qbench.suite.spec import Suite

INTERRUPTED = 130


@dataclass(frozen=True)
class Outcome:
    """How a run went."""

    run: Run
    planned: list[Planned]
    records: list[Record]
    """Those that this call wrote."""
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0: all ok, or skipped by design; 1: some failed; 130: interrupted."""
        if self.interrupted:
            return INTERRUPTED
        return int(any(record.status not in ("ok", "skipped") for record in self.records))


def run_suite(
    suite: Suite,
    results: Path,
    listener: Listener,
    *,
    rules: Sequence[Rule] = (),
    jobs: int = 1,
    fresh: bool = False,
    pool: Pool | Callable[[], Pool] | None = None,
    only: Collection[str] | None = None,
) -> Outcome:
    """Runs every cell that has no `ok` record yet, in the newest run of the suite that can be resumed.

    `pool` lends a warm server to several runs, or gives one when it is first needed; without it the run
    starts and ends its own. `only`: the
    cells with these ids and no others. Raises SuiteError before anything is measured, ResultsError where
    another process holds the run.
    """
    planner = Planner(suite)
    planner.plan(rules)
    here = environment()
    run = choose_run(suite, results, here, fresh)
    with lock(run.folder), terminable():
        planned = planner.plan(rules, done_cells(run))
        planned = [plan for plan in planned if only is None or plan.cell.id in only]
        manifest.open_run(run, suite, planned, here)
        schedule = Schedule(run, listener, jobs, planner.made_from)
        listener.begin(run, planned)
        status = "crashed"
        try:
            _run_all(schedule, planned, pool)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
        finally:
            manifest.close_run(run, status)
    return Outcome(run, planned, schedule.records, status == "interrupted")


def choose_run(suite: Suite, results: Path, here: dict[str, Any], fresh: bool) -> Run:
    """The newest run of the suite if it can be resumed in this environment, else a new one."""
    folder = results / suite.name
    store = Store(folder, strict=False)
    newest = store.runs()[-1:] if folder.is_dir() and not fresh else []
    for run in newest:
        if not manifest.differences(store.manifest(run), here):
            return Run(suite.name, run.name, folder / run.name)
    name = new_run_name()
    return Run(suite.name, name, folder / name)


def done_cells(run: Run) -> frozenset[str]:
    """Ids of the run's `ok` records."""
    if not run.folder.is_dir():
        return frozenset()
    records = Store(run.folder, strict=False).records(run)
    return frozenset(record.cell.id for record in records if record.status == "ok")


def _run_all(schedule: Schedule, planned: Sequence[Planned], lent: Pool | Callable[[], Pool] | None) -> None:
    for plan in planned:
        if plan.state == "skip":
            schedule.skip(plan.cell, plan.reason or "")
    waiting = [plan.cell for plan in planned if plan.state == "run"]
    if waiting:
        ready = lent() if callable(lent) else lent
        with contextlib.nullcontext(ready) if ready else Pool() as pool:
            devices = sorted({cell.device for cell in waiting})
            manifest.measure_ceilings(schedule.run, pool, devices, waiting[0].threads)
            done = [plan.cell for plan in planned if plan.state == "done"]
            problems = keep_base_outputs(pool, waiting, [*waiting, *done], schedule.made_from)
            manifest.note_problems(schedule.run, problems)
            for problem in problems:
                schedule.listener.note(problem)
            schedule.work(pool, waiting, done)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: workers killed, what is finished kept, the manifest closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
