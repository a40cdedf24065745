"""The gates of `qbench gate`, one for each way to name a baseline."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qbench.errors import GateError
from qbench.fields import Rule
from qbench.gate.ab import compare as ab
from qbench.gate.ab import install
from qbench.gate.ab.judge import words_of
from qbench.gate.baseline.baseline import Baseline, baseline_file, read_baseline
from qbench.gate.baseline.baseline_cell import RELATIVE, baseline_cells, facts_of
from qbench.gate.verdicts.finding import GateResult
from qbench.gate.verdicts.stored import gate_stored
from qbench.results.compare.comparable import check_accepted
from qbench.results.store.folders import MANIFEST, Run, Store, only_run
from qbench.results.store.manifest_facts import facts
from qbench.results.store.record import Record
from qbench.run.executors.scheduler import Listener
from qbench.run.planning.plan import Planned
from qbench.run.provenance.environment import environment
from qbench.run.runner import run_suite
from qbench.suite.rules import chosen, fits
from qbench.suite.spec import Suite

SAME = "baseline and candidate are the same commit: whatever differs is noise"


def against_commit(suite: Suite, ref: str, order: ab.Order) -> GateResult:
    """Compares the running qbench with the commit that `ref` names. Raises GateError, SuiteError."""
    root = install.repository()
    order.heard(f"laying {ref} out beside the packages of {sys.prefix}")
    with install.commit_installed(ref, root) as installed:
        noted = dataclasses.replace(order, notes=(*order.notes, installed.how, *_candidate(ref, root)))
        with ab.two_versions(installed, install.here()) as versions:
            return ab.compare(suite, versions, noted)


def between(suite: Suite, baseline: str, candidate: str | None, order: ab.Order) -> GateResult:
    """Compares two installed environments, named by their interpreters. Raises GateError, SuiteError."""
    second = install.existing(candidate) if candidate else install.here()
    with ab.two_versions(install.existing(baseline), second) as versions:
        return ab.compare(suite, versions, order)


@dataclass(frozen=True)
class StoredGate:
    """Arguments of a gate against a stored baseline."""

    baseline: Path
    """A baseline's file, a results folder with `baselines/SUITE/baseline.json` in it, or one run's folder."""
    run: Path | None = None
    """A finished run to compare; None: the suite is run first."""
    results: Path = Path("results")
    """Results folder of a run that is made."""
    rules: Sequence[Rule] = ()
    gate_timed: bool = False
    accept: Sequence[str] = ()
    """Facts of the environment that may differ."""
    heard: Callable[[str], None] = lambda line: None


def with_baseline(suite: Suite, asked: StoredGate) -> GateResult:
    """Compares a run of the suite, finished or made now, with a stored baseline.

    Raises KeyboardInterrupt where the run was stopped.
    """
    before, against = _baseline(asked.baseline, suite.name)
    if before.suite != suite.name:
        raise GateError(f"{against} is a baseline of suite {before.suite!r}, and this is {suite.name!r}")
    run = _finished(asked.run, suite) if asked.run is not None else None
    _check_options(before, run, asked)
    before, notes = _filtered(before, asked)
    run = run or _measured(suite, asked)
    found = gate_stored(suite, before, run, against=against, accept=asked.accept, gate_timed=asked.gate_timed)
    return dataclasses.replace(found, notes=(*found.notes, *notes))


def _filtered(before: Baseline, asked: StoredGate) -> tuple[Baseline, list[str]]:
    """The baseline without the cells that the filter leaves out, and notes on values that are not compared.

    A run of the filter's cells alone may lack the base that ratios relate to.
    """
    if not asked.rules:
        return before, []
    cells = {
        name: cell
        for name, cell in before.cells.items()
        if any(fits(cell.facts, rule) for rule in asked.rules)
    }
    alone = [name for name, cell in cells.items() if RELATIVE.keys() & cell.values and cell.base not in cells]
    if asked.run is not None or not alone:
        return dataclasses.replace(before, cells=cells), []
    for name in alone:
        values = {metric: value for metric, value in cells[name].values.items() if metric not in RELATIVE}
        cells[name] = dataclasses.replace(cells[name], values=values)
    names = ", ".join(RELATIVE)
    note = f"{names} of {len(alone)} cells is not compared: the filter leaves out what it relates to"
    return dataclasses.replace(before, cells=cells), [note]


def _check_options(before: Baseline, run: Run | None, asked: StoredGate) -> None:
    """Raises SuiteError or GateError for a filter or an accepted fact that neither side has.

    Where a run is still to be made, its plan checks the filters.
    """
    if asked.accept:
        manifest = {"environment": environment()} if run is None else Store(run.folder).manifest(run)
        check_accepted(asked.accept, before.environment, facts(manifest, ()))
    if run is not None and asked.rules:
        cells = [cell.facts for cell in before.cells.values()]
        chosen([*cells, *(facts_of(one.cell) for one in Store(run.folder).records(run))], asked.rules)


def _baseline(place: Path, suite: str) -> tuple[Baseline, str]:
    if (place / MANIFEST).exists():
        store, run = Store(place), only_run(place)
        records = list(store.records(run))
        known = facts(store.manifest(run), records)
        return Baseline(run.suite, known, baseline_cells(records), ()), f"run {run.suite}/{run.name}"
    path = baseline_file(place, suite) if place.is_dir() else place
    return read_baseline(path), str(path)


def _finished(folder: Path, suite: Suite) -> Run:
    run = only_run(folder)
    if run.suite != suite.name:
        raise GateError(f"{run.folder} is a run of suite {run.suite!r}, and the gate is of {suite.name!r}")
    return run


def _measured(suite: Suite, asked: StoredGate) -> Run:
    """Makes a new run of the suite: an earlier one, resumed, would hold what was measured then."""
    outcome = run_suite(suite, asked.results, _ProgressLines(asked.heard), rules=asked.rules, fresh=True)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome.run


@dataclass
class _ProgressLines(Listener):
    """Listener of a run that prints a line for each cell that ends."""

    say: Callable[[str], None]

    def begin(self, run: Run, planned: Sequence[Planned]) -> None:
        self.say(f"run {run.suite}/{run.name}: {len(planned)} cells")

    def record(self, record: Record) -> None:
        self.say(
            f"{record.status:7} {words_of(record.cell)}" + (f": {record.reason}" if record.reason else "")
        )

    def note(self, text: str) -> None:
        self.say(text)


def _candidate(ref: str, root: Path) -> list[str]:
    """Notes on the candidate, which is the working tree or an installed package."""
    import qbench

    if not Path(qbench.__file__).resolve().is_relative_to(root):
        return [f"the candidate is the qbench installed in {sys.prefix}, and not the tree {root}"]
    if install.changed_since_commit(root):
        return [f"the candidate is the working tree {root} with changes that are in no commit"]
    return [SAME] if install.resolve("HEAD", root) == install.resolve(ref, root) else []
