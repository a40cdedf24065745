"""What came of the pairs, as findings: exact numbers, timed ones, and what only one side has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from qbench.results.gate.exact import exact_findings
from qbench.results.gate.finding import Finding
from qbench.results.gate.kept import Kept, kept_cells
from qbench.results.gate.timed import TimedFamily
from qbench.results.metrics import METRICS
from qbench.results.record import Record
from qbench.run.ab.duel import Duel
from qbench.run.ab.pairs import Pair
from qbench.run.ab.sampling import Sampling
from qbench.run.ab.sides import SIDES, Name
from qbench.run.ab.units import Unit
from qbench.suite.cell import Cell
from qbench.suite.spec import Suite

ONCE_A_LOAD = ("load_s", "compile_s", "peak_memory_bytes", "quantize_peak_bytes")
"""Timed metrics that a worker has one number of, however many laps it takes: shown, not gated."""


def words_of(cell: Cell) -> str:
    """`austen-6m int4 bf16 cpu`."""
    repetition = f" repetition {cell.repetition}" if cell.repetition else ""
    return f"{cell.model.name} {cell.label} {cell.dtype} {cell.place}{repetition}"


def exact(suite: Suite, duels: Sequence[Duel]) -> tuple[Finding, ...]:
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


def timed(family: TimedFamily, duels: Sequence[Duel], sampling: Sampling) -> Iterator[Finding]:
    """The family's findings under the cells' own ids, each unit with why it has no more laps."""
    owners: dict[str, tuple[Duel, Unit]] = {unit.key: (duel, unit) for duel in duels for unit in duel.units}
    for duel in duels:
        if why := _failure(duel):
            for unit in duel.units:
                family.fail(unit.key, why)
    for finding in family.findings(
        "the budget ended" if sampling.exhausted else "what is left of the budget pays no other load"
    ):
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


def once_a_load(duels: Sequence[Duel]) -> Iterator[Finding]:
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


def one_sided(pair: Pair) -> Iterator[Finding]:
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
