"""`qbench gate --against`: two versions of qbench on one machine in one job, cell by cell and lap by lap.

    with two_sides(here, other) as sides:
        result = compare(suite, sides, Order(...))

Both plan the suite in their own environment; cells are matched by what they are in words (`pairs.py`).
Each side's server forks a worker for its end of a cell (`rounds.py`), which runs the deterministic probes
once and then takes its rounds by turns with the other side's (`sampling.py`). What is deterministic is
compared exactly, what is timed by a sequential test over laps; both with the thresholds of the suite's
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
from qbench.gate.ab.install import Installed
from qbench.gate.ab.judge import exact, left_out, one_sided, only_shown, timed, words_of
from qbench.gate.ab.paired_run import Duel
from qbench.gate.ab.pairs import Pair, match
from qbench.gate.ab.sampling import Sampling
from qbench.gate.ab.surroundings import Differences, differences
from qbench.gate.ab.timed_limits import check_kinds, check_sampled, timed_limits
from qbench.gate.ab.units import units_of
from qbench.gate.ab.versions import SIDES, Name, Side, opened
from qbench.gate.ab.workers import Crew
from qbench.gate.baseline.baseline_cell import Kept, facts_of
from qbench.gate.timing.timed import TimedFamily
from qbench.gate.verdicts.finding import GateResult
from qbench.gate.verdicts.limits import check_overrides
from qbench.probes.latency.section import LatencySpec
from qbench.results.store.folders import Run, new_run_name, write_manifest, write_record
from qbench.results.store.record import Record
from qbench.run.bases import keep_base_outputs
from qbench.run.manifest import SCHEMA
from qbench.suite.spec import Suite

Sides = Mapping[Name, Side]


@dataclass(frozen=True)
class Order:
    """What is asked of one gate beside the suite."""

    rules: Sequence[Rule] = ()
    budget_s: float | None = None
    """Instead of the suite's."""
    seed: int = 0
    """Of coins and orders."""
    notes: tuple[str, ...] = ()
    """What the reader must know of the two sides."""
    keep: Path | None = None
    """A results folder for the records of both sides, each as a run of its own, with all laps."""
    confirm: bool = True
    """Whether what is worse must be confirmed by new processes on new servers; False: one load can say it."""
    accept: Sequence[str] = ()
    """Facts of the environments that may differ."""
    heard: Callable[[str], None] = lambda line: None
    """Told what goes on, a line each."""


@contextlib.contextmanager
def two_sides(baseline: Installed, candidate: Installed) -> Iterator[dict[Name, Side]]:
    """Both servers, running; gone at the end, however it comes."""
    with opened("baseline", baseline) as first, opened("candidate", candidate) as second:
        yield {"baseline": first, "candidate": second}


def compare(suite: Suite, sides: Sides, order: Order) -> GateResult:
    """Plans, measures, judges. SuiteError where a side cannot plan the suite."""
    check_kinds(suite)
    pairs = _planned(suite, sides, order)
    gpu = any(entry.cell.device != "cpu" for pair in pairs for entry in pair.entries.values())
    before = differences(sides, order.accept, gpu=gpu)
    if before.deciding:
        return _refused(suite, sides, before)
    duels = [_duel(suite, pair) for pair in pairs if pair.whole]
    family = _family(suite, duels, order.confirm)
    sampling = Sampling(
        crew=Crew(),
        sides=sides,
        family=family,
        duels=duels,
        budget_s=order.budget_s or suite.gate.budget_s,
        seed=order.seed,
        suite=suite.name,
        most=_most(duels),
        heard=order.heard,
        fresh=order.confirm,
        restart_s=sum(side.pool.facts["seconds"] for side in sides.values()),
    )
    notes = [*order.notes, *_prepared(sides, duels)]
    sampling.run()
    kept, unkept = _keep(order.keep, suite, sides, duels)
    after = differences(sides, order.accept, gpu=gpu, records=_that_ran(duels))
    if after.deciding:
        return _refused(suite, sides, after)
    findings = (
        *(one for pair in pairs if not pair.whole for one in one_sided(pair)),
        *exact(suite, duels),
        *timed(family, duels, sampling),
        *only_shown(duels, suite.gate),
    )
    return GateResult(
        suite=suite.name,
        findings=findings,
        against=sides["baseline"].installed.version,
        environment=after.all,
        accepted=after.accepted,
        notes=(*notes, *kept, *_pair_notes(pairs), *_clock_notes(duels)),
        nothing=_nothing(pairs, duels),
        alpha=family.alpha,
        correction=family.correction,
        budget_s=sampling.budget_s,
        spent_s=sampling.spent_s,
        laps=family.laps,
        unkept=unkept,
    )


def _that_ran(duels: Iterable[Duel]) -> dict[Name, list[Record]]:
    """Records of the cells that both sides came to run, with the number of their threads."""
    both = [duel.records for duel in duels if len(duel.records) == 2]
    ran = [one for one in both if all(record.environment.get("threads") for record in one.values())]
    return {name: [records[name] for records in ran] for name in SIDES}


def _refused(suite: Suite, sides: Sides, found: Differences) -> GateResult:
    return GateResult(
        suite=suite.name,
        against=sides["baseline"].installed.version,
        environment=found.all,
        accepted=found.accepted,
        refused=found.refusal,
        alpha=suite.gate.alpha,
        correction=suite.gate.correction,
    )


def _planned(suite: Suite, sides: Sides, order: Order) -> list[Pair]:
    for name in SIDES:
        order.heard(f"planning on the {sides[name].words}")
        sides[name].plan(suite, order.rules)
    pairs = match(sides["baseline"].entries, sides["candidate"].entries)
    if not order.rules:
        _check_overrides(suite, pairs)
        check_sampled(suite, pairs)
    return pairs


def _family(suite: Suite, duels: Sequence[Duel], confirm: bool) -> TimedFamily:
    """All timed comparisons, sampled or not: their number is fixed beforehand."""
    units = [unit for duel in duels for unit in duel.units if unit.thresholds]
    return TimedFamily(
        {unit.key: unit.thresholds for unit in units},
        {unit.key: unit.words for unit in units},
        alpha=suite.gate.alpha,
        correction=suite.gate.correction,
        confirm=confirm,
    )


def _check_overrides(suite: Suite, pairs: Iterable[Pair]) -> None:
    """SuiteError for an override of the section `gate` that no cell matches."""
    cells = [entry.cell for pair in pairs for entry in pair.entries.values()]
    check_overrides(suite, [Kept(cell.id, words_of(cell), facts_of(cell), "") for cell in cells])


def _keep(
    folder: Path | None, suite: Suite, sides: Sides, duels: Sequence[Duel]
) -> tuple[list[str], str | None]:
    """Writes the records of each side as a run. A note that says where; or why not, for the verdict may have
    taken hours and must not be lost with them."""
    if folder is None:
        return [], None
    stem = new_run_name()
    try:
        _write(folder, stem, suite, sides, duels)
    except ResultsError as error:  # such as a disk that has filled up since
        return [], str(error)
    return [f"records of both sides with all laps: {folder / suite.name / stem}-*"], None


def _write(folder: Path, stem: str, suite: Suite, sides: Sides, duels: Sequence[Duel]) -> None:
    for name in SIDES:
        run = Run(suite.name, f"{stem}-{name}", folder / suite.name / f"{stem}-{name}")
        about = {
            "schema": SCHEMA,
            "suite": suite.name,
            "run": run.name,
            "status": "finished",
            "environment": sides[name].environment,
            "suite_text": suite.text,
            "gate": {"side": name, "version": sides[name].installed.version},
        }
        write_manifest(run.folder, about)
        for record in (duel.final(name) for duel in duels):
            if record is not None:
                write_record(run.folder, dataclasses.replace(record, run=run.name))


def _duel(suite: Suite, pair: Pair) -> Duel:
    cell = pair.cell
    units = units_of(pair, cell.id, words_of(cell), timed_limits(suite.gate, pair))
    return Duel(pair, cell.id, words_of(cell), units)


def _most(duels: Iterable[Duel]) -> int:
    """Pairs in memory at a time: two workers each, as many as `latency.interleave` says."""
    asked = [latency.interleave for duel in duels if (latency := LatencySpec.of(duel.pair.cell))]
    return max(1, min(asked, default=2) // 2)


def _prepared(sides: Sides, duels: Sequence[Duel]) -> list[str]:
    """Keeps the unquantized models' outputs, on both sides; what went wrong with it."""
    found = []
    for name in SIDES:
        cells = [duel.pair.entries[name].cell for duel in duels]
        problems = keep_base_outputs(sides[name].pool, cells, cells, sides[name].made_from)
        found += [f"{name}: {problem}" for problem in problems]
    return found


def _pair_notes(pairs: Iterable[Pair]) -> list[str]:
    found = {note: words_of(pair.cell) for pair in reversed(list(pairs)) for note in pair.notes}
    return [f"{words}: {note}" for note, words in found.items()]


def _clock_notes(duels: Iterable[Duel]) -> list[str]:
    return [
        f"{unit.words}: {said}" for duel in duels for unit in duel.units if (said := left_out(duel, unit))
    ]


def _nothing(pairs: Sequence[Pair], duels: Sequence[Duel]) -> str | None:
    if not pairs:
        return "neither version plans a cell"
    if not duels and not any(pair.runs("baseline") for pair in pairs):
        return "no cell can run here on both sides"
    return None
