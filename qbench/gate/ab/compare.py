"""`qbench gate --against`: two versions of qbench on one machine in one job, cell by cell and block by block.

    with two_versions(here, other) as versions:
        result = compare(suite, versions, Order(...))

Both plan the suite in their own environment; cells are matched by model, method and the like (`pairs.py`).
Each version's server forks a worker for its end of a cell (`rounds.py`), which runs the deterministic probes
once and then takes its rounds in turns with the other version's (`sampling.py`). What is deterministic is
compared exactly, what is timed by a sequential test over blocks; both with the thresholds of the suite's
section `gate`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qbench.errors import ResultsError
from qbench.fields import Rule
from qbench.gate.ab.environment_differences import Differences, differences
from qbench.gate.ab.install import Installed
from qbench.gate.ab.judge import exact, left_out, one_sided, only_shown, timed, words_of
from qbench.gate.ab.paired_run import PairedRun
from qbench.gate.ab.pairs import Pair, match
from qbench.gate.ab.sampling import Sampling
from qbench.gate.ab.timed_limits import check_kinds, check_sampled, timed_limits
from qbench.gate.ab.units import units_of
from qbench.gate.ab.versions import ROLES, Role, Version, opened
from qbench.gate.ab.workers import Workers
from qbench.gate.baseline.baseline_cell import BaselineCell, facts_of
from qbench.gate.timing.timed import TimedComparisons
from qbench.gate.verdicts.finding import GateResult
from qbench.gate.verdicts.limits import check_overrides
from qbench.probes.latency.section import LatencySpec
from qbench.results.store.folders import Run, new_run_name, write_manifest, write_record
from qbench.results.store.record import Record
from qbench.run.bases import keep_base_outputs
from qbench.run.manifest import SCHEMA
from qbench.suite.spec import Suite

Versions = Mapping[Role, Version]


@dataclass(frozen=True)
class Order:
    """Settings of one gate beside the suite."""

    rules: Sequence[Rule] = ()
    budget_s: float | None = None
    """Budget instead of the suite's."""
    seed: int = 0
    """Seed of coins and orders."""
    notes: tuple[str, ...] = ()
    """Notes for the reader on the two versions."""
    keep: Path | None = None
    """A results folder for the records of both versions, each as a run of its own, with all blocks."""
    confirm: bool = True
    """True where a finding of worse must be confirmed by new processes on new servers."""
    accept: Sequence[str] = ()
    """Facts of the environments that may differ."""
    heard: Callable[[str], None] = lambda line: None
    """Called with lines of progress."""


@contextlib.contextmanager
def two_versions(baseline: Installed, candidate: Installed) -> Iterator[dict[Role, Version]]:
    """Both servers, running; gone at the end, however it comes."""
    with opened("baseline", baseline) as first, opened("candidate", candidate) as second:
        yield {"baseline": first, "candidate": second}


def compare(suite: Suite, versions: Versions, order: Order) -> GateResult:
    """Plans, measures, judges. SuiteError where a version cannot plan the suite."""
    check_kinds(suite)
    pairs = _planned(suite, versions, order)
    gpu = any(entry.cell.device != "cpu" for pair in pairs for entry in pair.entries.values())
    before = differences(versions, order.accept, gpu=gpu)
    if before.deciding:
        return _refused(suite, versions, before)
    paired_runs = [_paired_run(suite, pair) for pair in pairs if pair.whole]
    family = _family(suite, paired_runs, order.confirm)
    sampling = Sampling(
        workers=Workers(), versions=versions, family=family, paired_runs=paired_runs,
        budget_s=order.budget_s or suite.gate.budget_s, seed=order.seed, suite=suite.name,
        most=_most(paired_runs), heard=order.heard, fresh=order.confirm,
        restart_s=sum(one.start_s for one in versions.values()),
    )  # fmt: skip
    notes = [*order.notes, *_prepared(versions, paired_runs)]
    sampling.run()
    kept, unkept = _keep(order.keep, suite, versions, paired_runs)
    after = differences(versions, order.accept, gpu=gpu, records=_that_ran(paired_runs))
    if after.deciding:
        return _refused(suite, versions, after)
    findings = (
        *(one for pair in pairs if not pair.whole for one in one_sided(pair)),
        *exact(suite, paired_runs),
        *timed(family, paired_runs, sampling),
        *only_shown(paired_runs, suite.gate),
    )
    return GateResult(
        suite=suite.name, findings=findings, against=versions["baseline"].installed.version,
        environment=after.all, accepted=after.accepted,
        notes=(*notes, *kept, *_pair_notes(pairs), *_clock_notes(paired_runs)),
        nothing=_nothing(pairs, paired_runs), alpha=family.alpha, correction=family.correction,
        budget_s=sampling.budget_s, spent_s=sampling.spent_s, laps=family.blocks, unkept=unkept,
    )  # fmt: skip


def _that_ran(paired_runs: Iterable[PairedRun]) -> dict[Role, list[Record]]:
    """Records of the cells that both versions came to run, with the number of their threads."""
    both = [paired.records for paired in paired_runs if len(paired.records) == 2]
    ran = [one for one in both if all(record.environment.get("threads") for record in one.values())]
    return {name: [records[name] for records in ran] for name in ROLES}


def _refused(suite: Suite, versions: Versions, found: Differences) -> GateResult:
    return GateResult(
        suite=suite.name, against=versions["baseline"].installed.version, environment=found.all,
        accepted=found.accepted, refused=found.refusal, alpha=suite.gate.alpha,
        correction=suite.gate.correction,
    )  # fmt: skip


def _planned(suite: Suite, versions: Versions, order: Order) -> list[Pair]:
    for name in ROLES:
        order.heard(f"planning on the {versions[name].words}")
        versions[name].plan(suite, order.rules)
    pairs = match(versions["baseline"].entries, versions["candidate"].entries)
    if not order.rules:
        _check_overrides(suite, pairs)
        check_sampled(suite, pairs)
    return pairs


def _family(suite: Suite, paired_runs: Sequence[PairedRun], confirm: bool) -> TimedComparisons:
    """All timed comparisons, sampled or not: their number is fixed beforehand."""
    units = [unit for paired in paired_runs for unit in paired.units if unit.thresholds]
    return TimedComparisons(
        {unit.key: unit.thresholds for unit in units},
        {unit.key: unit.words for unit in units},
        alpha=suite.gate.alpha,
        correction=suite.gate.correction,
        confirm=confirm,
    )


def _check_overrides(suite: Suite, pairs: Iterable[Pair]) -> None:
    """SuiteError for an override of the section `gate` that no cell matches."""
    cells = [entry.cell for pair in pairs for entry in pair.entries.values()]
    check_overrides(suite, [BaselineCell(cell.id, words_of(cell), facts_of(cell), "") for cell in cells])


def _keep(
    folder: Path | None, suite: Suite, versions: Versions, paired_runs: Sequence[PairedRun]
) -> tuple[list[str], str | None]:
    """Writes the records of each version as a run. Returns a note that says where, or the reason that there
    are none: the verdict may have taken hours and must not be lost with them."""
    if folder is None:
        return [], None
    stem = new_run_name()
    try:
        _write(folder, stem, suite, versions, paired_runs)
    except ResultsError as error:  # such as a disk that has filled up since
        return [], str(error)
    return [f"records of both versions with all paired rounds: {folder / suite.name / stem}-*"], None


def _write(
    folder: Path, stem: str, suite: Suite, versions: Versions, paired_runs: Sequence[PairedRun]
) -> None:
    for name in ROLES:
        run = Run(suite.name, f"{stem}-{name}", folder / suite.name / f"{stem}-{name}")
        about = {
            "schema": SCHEMA, "suite": suite.name, "run": run.name, "status": "finished",
            "environment": versions[name].environment, "suite_text": suite.text,
            "gate": {"side": name, "version": versions[name].installed.version},
        }  # fmt: skip
        write_manifest(run.folder, about)
        for record in (paired.final(name) for paired in paired_runs):
            if record is not None:
                write_record(run.folder, dataclasses.replace(record, run=run.name))


def _paired_run(suite: Suite, pair: Pair) -> PairedRun:
    cell = pair.cell
    units = units_of(pair, cell.id, words_of(cell), timed_limits(suite.gate, pair))
    return PairedRun(pair, cell.id, words_of(cell), units)


def _most(paired_runs: Iterable[PairedRun]) -> int:
    """Pairs in memory at a time: two workers each, as many as `latency.interleave` says."""
    asked = [spec.interleave for paired in paired_runs if (spec := LatencySpec.of(paired.pair.cell))]
    return max(1, min(asked, default=2) // 2)


def _prepared(versions: Versions, paired_runs: Sequence[PairedRun]) -> list[str]:
    """Keeps the unquantized models' outputs, on both versions; returns the problems."""
    found = []
    for name in ROLES:
        cells = [paired.pair.entries[name].cell for paired in paired_runs]
        problems = keep_base_outputs(versions[name].executor, cells, cells, versions[name].made_from)
        found += [f"{name}: {problem}" for problem in problems]
    return found


def _pair_notes(pairs: Iterable[Pair]) -> list[str]:
    found = {note: words_of(pair.cell) for pair in reversed(list(pairs)) for note in pair.notes}
    return [f"{words}: {note}" for note, words in found.items()]


def _clock_notes(paired_runs: Iterable[PairedRun]) -> list[str]:
    return [
        f"{unit.words}: {said}"
        for paired in paired_runs
        for unit in paired.units
        if (said := left_out(paired, unit))
    ]


def _nothing(pairs: Sequence[Pair], paired_runs: Sequence[PairedRun]) -> str | None:
    if not pairs:
        return "neither version plans a cell"
    if not paired_runs and not any(pair.runs("baseline") for pair in pairs):
        return "no cell can run here on both versions"
    return None
