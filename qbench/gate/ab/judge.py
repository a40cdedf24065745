"""What came of the pairs, as findings: exact numbers, timed ones, and what only one side has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from statistics import median

from qbench.cell import Cell
from qbench.gate.ab.paired_run import Duel
from qbench.gate.ab.pairs import Pair
from qbench.gate.ab.sampling import Sampling
from qbench.gate.ab.units import Unit
from qbench.gate.ab.versions import SIDES, Name
from qbench.gate.baseline.baseline_cell import BaselineCell, baseline_cells, facts_of
from qbench.gate.timing.timed import TimedComparisons
from qbench.gate.verdicts.exact import exact_findings
from qbench.gate.verdicts.finding import Finding
from qbench.gate.verdicts.limits import limits_of
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS
from qbench.suite.gate import GateSpec
from qbench.suite.spec import Suite

ONCE_A_LOAD = ("load_s", "compile_s", "peak_memory_bytes", "quantize_peak_bytes")
"""Timed metrics that a worker has one number of, however many laps it takes."""


def words_of(cell: Cell) -> str:
    """`austen-6m int4 bf16 cpu`."""
    repetition = f" repetition {cell.repetition}" if cell.repetition else ""
    return f"{cell.model.name} {cell.label} {cell.dtype} {cell.place}{repetition}"


def exact(suite: Suite, duels: Sequence[Duel]) -> tuple[Finding, ...]:
    """Deterministic numbers of both sides; the baseline's cells under the candidate's ids."""
    kept: dict[Name, dict[str, BaselineCell]] = {}
    for name in SIDES:
        records = [record for duel in duels if (record := duel.final(name)) is not None]
        ids = {duel.pair.entries[name].cell.id: duel.cell_id for duel in duels}
        kept[name] = {
            ids[cell_id]: dataclasses.replace(one, cell_id=ids[cell_id], base=ids.get(one.base or ""))
            for cell_id, one in baseline_cells(records).items()
        }
    return exact_findings(kept["baseline"], kept["candidate"], suite.gate)


def timed(family: TimedComparisons, duels: Sequence[Duel], sampling: Sampling) -> Iterator[Finding]:
    """The family's findings under the cells' own ids, each unit with why it has no more laps."""
    owners: dict[str, tuple[Duel, Unit]] = {unit.key: (duel, unit) for duel in duels for unit in duel.units}
    for duel in duels:
        if why := _failure(duel):
            for unit in duel.units:
                if unit.thresholds:
                    family.fail(unit.key, why)
    open_ = {(unit.key, name) for _, unit in owners.values() for name in unit.thresholds}
    for finding in family.findings(
        "the budget ended" if sampling.exhausted else "what is left of the budget pays no other load"
    ):
        open_.discard((finding.cell_id, finding.metric))
        yield from _owned(finding, *owners[finding.cell_id])
    for key, metric in sorted(open_):
        duel, unit = owners[key]
        reason = f"neither version gave a number of it in {duel.laps[key]} laps"
        yield from _owned(Finding(key, unit.words, metric, "undecided", True, reason), duel, unit)


def _owned(finding: Finding, duel: Duel, unit: Unit) -> Iterator[Finding]:
    """What is gated and could not be decided stays gated: nothing that a suite asks for is dropped."""
    statuses = duel.statuses()
    if statuses.get("baseline") != "ok" and "baseline" not in duel.died:
        return  # nothing to compare with; the finding on the cell's status says so
    found = dataclasses.replace(finding, cell_id=duel.cell_id)
    why = _ended(duel, unit)
    if why and found.verdict == "undecided":
        known = f"{found.reason.partition('; ')[0]}; " if found.change is not None else ""
        found = dataclasses.replace(found, reason=known + why)
    elif why and found.verdict == "missing":
        found = dataclasses.replace(found, reason=f"{found.reason}: {why}")
    if jumps := left_out(duel, unit):
        found = dataclasses.replace(found, reason=f"{found.reason}; {jumps}")
    yield found


def _ended(duel: Duel, unit: Unit) -> str | None:
    """Why the unit has no more laps, where that is not the budget."""
    died = duel.died.get("baseline")
    return duel.closed.get(unit.key) or (f"the baseline's worker ended {died}" if died else duel.apart)


def left_out(duel: Duel, unit: Unit) -> str | None:
    count = duel.jumps[unit.key]
    return (
        f"left out {count} laps in which a round claims a time that cannot be: a clock jumps"
        if count
        else None
    )


def _failure(duel: Duel) -> str | None:
    """Why the candidate's cell has no more laps though the baseline's could have."""
    record = duel.records.get("candidate")
    if duel.statuses().get("baseline") != "ok" or record is None or record.status == "ok":
        return None
    return f"{record.status}: {record.reason or 'no reason was recorded'}"


def only_shown(duels: Sequence[Duel], gate: GateSpec) -> Iterator[Finding]:
    """What is sampled and not gated, and what there is one number of in a load."""
    for duel in duels:
        for unit in duel.units:
            yield from (one for name in unit.shown if (one := _of_laps(duel, unit, name)) is not None)
        sides = [duel.final(name) for name in SIDES]
        limits = limits_of(gate, facts_of(duel.pair.cell))
        once = [name for name in ONCE_A_LOAD if name not in limits]  # a peak with a threshold is judged
        yield from (one for name in once if (one := _of_records(duel, name, sides)) is not None)


def _of_laps(duel: Duel, unit: Unit, metric: str) -> Finding | None:
    laps = [[lap[name].get(metric) for name in SIDES] for lap in duel.shown.get(unit.key, ())]
    known = [(before, now) for before, now in laps if before is not None and now is not None]
    if not known:
        return None
    before, now = (median(side) for side in zip(*known, strict=True))
    reason = f"over {len(known)} laps; the suite does not gate it"
    return _shown((duel.cell_id, unit.words, metric), reason, before, now, len(known))


def _of_records(duel: Duel, metric: str, sides: Sequence[Record | None]) -> Finding | None:
    before, now = (METRICS[metric].value(one) if one and one.status == "ok" else None for one in sides)
    if before is None or now is None:
        return None
    return _shown((duel.cell_id, duel.words, metric), "one number a load: shown, not gated", before, now, 1)


def _shown(head: tuple[str, str, str], reason: str, before: float, now: float, samples: int) -> Finding:
    change = now / before if before > 0 else None
    return Finding(*head, "undecided", False, reason, before, now, change, samples=samples)


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
