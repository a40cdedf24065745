"""`qbench gate --against`: two versions of qbench on one machine in one job, cell by cell and lap by lap.

    with ab.two_sides(here, other) as sides:
        result = ab.compare(suite, sides, Order(...))

Both plan the suite in their own environment; cells are matched by what they are in words (`ab_pairs.py`).
Each side's server forks a worker for its end of a cell (`rounds.py`), which runs the deterministic probes
once and then takes its rounds by turns with the other side's (`ab_sampling.py`). What is deterministic is
compared exactly, what is timed by a sequential test over laps; both with the thresholds of the suite's
section `gate`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from qbench.results.facts import differing, facts
from qbench.results.gate.exact import exact_findings
from qbench.results.gate.finding import Finding, GateResult
from qbench.results.gate.kept import Kept, facts_of, kept_cells
from qbench.results.gate.limits import by_kind, limits_of
from qbench.results.gate.timed import TimedFamily
from qbench.results.metrics import METRICS
from qbench.results.record import Record
from qbench.run.ab_duel import Duel
from qbench.run.ab_install import Installed
from qbench.run.ab_lanes import Crew
from qbench.run.ab_pairs import Pair, match
from qbench.run.ab_sampling import Sampling
from qbench.run.ab_sides import SIDES, Name, Side, opened
from qbench.run.ab_units import Unit, units_of
from qbench.run.bases import keep_base_outputs
from qbench.suite.cell import Cell
from qbench.suite.spec import Suite
from qbench.suite.values import Rule

Sides = Mapping[Name, Side]
ONCE_A_LOAD = ("load_s", "compile_s", "peak_memory_bytes", "quantize_peak_bytes")
"""Timed metrics that a worker has one number of, however many laps it takes: shown, not gated."""


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
    heard: Callable[[str], None] = lambda line: None
    """Told what goes on, a line each."""


@contextlib.contextmanager
def two_sides(baseline: Installed, candidate: Installed) -> Iterator[dict[Name, Side]]:
    """Both servers, running; gone at the end, however it comes."""
    with opened("baseline", baseline) as first, opened("candidate", candidate) as second:
        yield {"baseline": first, "candidate": second}


def compare(suite: Suite, sides: Sides, order: Order) -> GateResult:
    """Plans, measures, judges. SuiteError where a side cannot plan the suite."""
    for name in SIDES:
        order.heard(f"planning on the {sides[name].words}")
        sides[name].plan(suite, order.rules)
    pairs = match(sides["baseline"].entries, sides["candidate"].entries)
    duels = [_duel(suite, pair) for pair in pairs if pair.whole]
    gate = suite.gate
    thresholds = {unit.key: unit.thresholds for duel in duels for unit in duel.units}
    names = {unit.key: unit.words for duel in duels for unit in duel.units}
    family = TimedFamily(thresholds, names, alpha=gate.alpha, correction=gate.correction)
    budget_s = order.budget_s or gate.budget_s
    sampling = Sampling(
        Crew(), sides, family, duels, budget_s, order.seed, suite.name, _most(duels), order.heard
    )
    notes = [*order.notes, *_prepared(sides, duels)]
    sampling.run()
    findings = [
        *(one for pair in pairs if not pair.whole for one in _one_sided(pair)),
        *_exact(suite, duels),
        *_timed(family, duels, sampling),
        *_once_a_load(duels),
    ]
    return GateResult(
        suite=suite.name,
        findings=tuple(findings),
        against=sides["baseline"].installed.version,
        environment=tuple(_environments(sides)),
        notes=(*notes, *_pair_notes(pairs)),
        nothing=_nothing(pairs, duels),
        alpha=gate.alpha,
        correction=gate.correction,
        budget_s=budget_s,
        spent_s=sampling.spent_s,
        laps=family.laps,
    )


def words_of(cell: Cell) -> str:
    """`austen-6m int4 bf16 cpu`."""
    repetition = f" repetition {cell.repetition}" if cell.repetition else ""
    return f"{cell.model.name} {cell.label} {cell.dtype} {cell.place}{repetition}"


def _duel(suite: Suite, pair: Pair) -> Duel:
    cell = pair.cell
    limits = by_kind(limits_of(suite.gate, facts_of(cell)), "timed")
    return Duel(pair, cell.id, words_of(cell), units_of(pair, cell.id, words_of(cell), limits))


def _most(duels: Iterable[Duel]) -> int:
    """Pairs in memory at a time: two workers each, as many as `latency.interleave` says."""
    asked = [latency["interleave"] for duel in duels if (latency := duel.pair.cell.latency)]
    return max(1, min(asked, default=2) // 2)


def _prepared(sides: Sides, duels: Sequence[Duel]) -> list[str]:
    """Keeps the unquantized models' outputs, on both sides; what went wrong with it."""
    found = []
    for name in SIDES:
        cells = [duel.pair.entries[name].cell for duel in duels]
        problems = keep_base_outputs(sides[name].pool, cells, cells, sides[name].made_from)
        found += [f"{name}: {problem}" for problem in problems]
    return found


def _exact(suite: Suite, duels: Sequence[Duel]) -> tuple[Finding, ...]:
    """Deterministic numbers of both sides; the baseline's cells under the candidate's ids."""
    kept: dict[Name, dict[str, Kept]] = {}
    for name in SIDES:
        records = [record for duel in duels if (record := duel.final(name)) is not None]
        ids = {duel.pair.entries[name].cell.id: duel.cell_id for duel in duels}
        kept[name] = {
            ids[cell_id]: dataclasses.replace(one, cell_id=ids[cell_id], base=ids.get(one.base or ""))
            for cell_id, one in kept_cells(records).items()
        }
    return exact_findings(kept["baseline"], kept["candidate"], suite.gate)


def _timed(family: TimedFamily, duels: Sequence[Duel], sampling: Sampling) -> Iterator[Finding]:
    """The family's findings under the cells' own ids, each unit with why it has no more laps."""
    owners: dict[str, tuple[Duel, Unit]] = {unit.key: (duel, unit) for duel in duels for unit in duel.units}
    for duel in duels:
        if why := _failure(duel):
            for unit in duel.units:
                family.fail(unit.key, why)
    for finding in family.findings("the budget ended" if sampling.exhausted else "no more laps were taken"):
        duel, unit = owners[finding.cell_id]
        yield from _owned(finding, duel, unit)


def _owned(finding: Finding, duel: Duel, unit: Unit) -> Iterator[Finding]:
    found = dataclasses.replace(finding, cell_id=duel.cell_id)
    statuses = duel.statuses()
    if statuses.get("baseline") != "ok":
        return  # nothing to compare with; the finding on the cell's status says so
    why = duel.closed.get(unit.key) or duel.apart
    if found.verdict == "undecided" and why:
        said = why if found.change is None else f"{found.reason.partition('; ')[0]}; {why}"
        found = dataclasses.replace(found, reason=said, gated=unit.kind == "round")
    yield found


def _failure(duel: Duel) -> str | None:
    """Why the candidate's cell has no more laps though the baseline's could have."""
    record = duel.records.get("candidate")
    if duel.statuses().get("baseline") != "ok" or record is None or record.status == "ok":
        return None
    return f"{record.status}: {record.reason or 'no reason was recorded'}"


def _once_a_load(duels: Sequence[Duel]) -> Iterator[Finding]:
    for duel in duels:
        sides = [duel.final(name) for name in SIDES]
        yield from (one for name in ONCE_A_LOAD if (one := _shown(duel, name, sides)) is not None)


def _shown(duel: Duel, metric: str, sides: Sequence[Record | None]) -> Finding | None:
    before, now = (METRICS[metric].value(one) if one and one.status == "ok" else None for one in sides)
    if before is None or now is None:
        return None
    change = now / before if before > 0 else None
    reason = "one number a load: shown, not gated"
    return Finding(
        duel.cell_id, duel.words, metric, "undecided", False, reason, before, now, change, samples=1
    )


def _one_sided(pair: Pair) -> Iterator[Finding]:
    """A cell that one side does not plan, or cannot run here."""
    cell = pair.cell
    states = {name: entry.state for name, entry in pair.entries.items()}
    reasons = {name: entry.reason for name, entry in pair.entries.items()}
    head = (cell.id, words_of(cell), "status")
    if pair.runs("candidate"):
        why = reasons.get("baseline") or "the baseline does not plan it"
        yield Finding(*head, "new", False, why, states.get("baseline"), states["candidate"])
    elif pair.runs("baseline"):
        if "candidate" in states:
            why = f"skipped: {reasons['candidate']}"
            yield Finding(*head, "failed", True, why, states["baseline"], "skip")
        else:
            why = "the baseline plans this cell, and the candidate does not"
            yield Finding(*head, "missing", True, why, states["baseline"], None)
    else:
        why = next((reason for reason in reasons.values() if reason), "it is skipped")
        yield Finding(
            *head, "same", False, f"skipped: {why}", states.get("baseline"), states.get("candidate")
        )


def _environments(sides: Sides) -> list[str]:
    known = [facts({"environment": sides[name].environment}, ()) for name in SIDES]
    return [line for line in differing(*known) if not line.startswith(("git", "qbench", "threads"))]


def _pair_notes(pairs: Iterable[Pair]) -> list[str]:
    found = {note: words_of(pair.cell) for pair in reversed(list(pairs)) for note in pair.notes}
    return [f"{words}: {note}" for note, words in found.items()]


def _nothing(pairs: Sequence[Pair], duels: Sequence[Duel]) -> str | None:
    if not pairs:
        return "neither version plans a cell"
    if not duels and not any(pair.runs("baseline") for pair in pairs):
        return "no cell can run here on both sides"
    return None
