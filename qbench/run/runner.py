"""Running a suite: plan, resume, schedule, record. The parent's side; it never computes on a model."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qbench.fields import Rule
from qbench.json_object import JsonObject
from qbench.results.store.folders import Run, Store, new_run_name
from qbench.results.store.lock import lock
from qbench.results.store.record import Record
from qbench.run import manifest
from qbench.run.bases import keep_base_outputs
from qbench.run.executors import registry as executors
from qbench.run.executors.executor import Executor
from qbench.run.executors.scheduler import Listener, Scheduler
from qbench.run.planning.plan import Planned, Planner
from qbench.run.provenance.environment import environment
from qbench.suite.spec import Suite

INTERRUPTED = 130


@dataclass(frozen=True)
class Outcome:
    """Planned cells and new records of a run."""

    run: Run
    planned: list[Planned]
    records: list[Record]
    """Records that this call wrote."""
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
    executor: Executor | Callable[[], Executor] | str = "local",
    only: Collection[str] | None = None,
) -> Outcome:
    """Runs every cell that has no `ok` record yet, in the newest run of the suite that can be resumed.

    `executor`: a name, whose executor the run starts and ends; or one that is lent to several runs; or a
    function that lends it when it is first needed. `only`: the cells with these ids and no others. Raises
    SuiteError before anything is measured, ResultsError where another process holds the run, QbenchError
    where no executor has the name.
    """
    if isinstance(executor, str):
        executors.executor_class(executor)  # before there is a folder of the run
    planner = Planner(suite)
    planner.plan(rules)
    here = environment()
    run = choose_run(suite, results, here, fresh)
    with lock(run.folder), terminable():
        planned = planner.plan(rules, done_cells(run))
        planned = [plan for plan in planned if only is None or plan.cell.id in only]
        manifest.open_run(run, suite, planned, here)
        scheduler = Scheduler(run, listener, jobs, planner.made_from)
        listener.begin(run, planned)
        status = "crashed"
        try:
            _run_all(scheduler, planned, executor)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
        finally:
            manifest.close_run(run, status)
    return Outcome(run, planned, scheduler.records, status == "interrupted")


def choose_run(suite: Suite, results: Path, here: JsonObject, fresh: bool) -> Run:
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


def _run_all(
    scheduler: Scheduler, planned: Sequence[Planned], asked: Executor | Callable[[], Executor] | str
) -> None:
    for plan in planned:
        if plan.state == "skip":
            scheduler.skip(plan.cell, plan.reason or "")
    waiting = [plan.cell for plan in planned if plan.state == "run"]
    if waiting:
        with executors.opened(asked) as executor:
            devices = sorted({cell.device for cell in waiting})
            manifest.measure_peak_rates(scheduler.run, executor, devices, waiting[0].threads)
            done = [plan.cell for plan in planned if plan.state == "done"]
            problems = keep_base_outputs(executor, waiting, [*waiting, *done], scheduler.made_from)
            manifest.note_problems(scheduler.run, problems)
            for problem in problems:
                scheduler.listener.note(problem)
            scheduler.work(executor, waiting, done)


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
