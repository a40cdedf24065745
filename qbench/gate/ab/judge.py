"""Findings on the pairs: exact numbers, timed ones, and cells that only one version has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from statistics import median

from qbench.cell import Cell
from qbench.gate.ab.paired_run import PairedRun
from qbench.gate.ab.pairs import Pair
from qbench.gate.ab.sampling import Sampling
from qbench.gate.ab.timed_limits import SAMPLED
from qbench.gate.ab.units import Unit
from qbench.gate.ab.versions import ROLES, Role
from qbench.gate.baseline.baseline_cell import BaselineCell, baseline_cells, facts_of
from qbench.gate.timing.timed import TimedComparisons
from qbench.gate.verdicts.exact import exact_findings
from qbench.gate.verdicts.finding import Finding
from qbench.gate.verdicts.limits import limits_of
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS
from qbench.suite.gate import GateSpec
from qbench.suite.spec import Suite

ONCE_A_LOAD = tuple(
    name for name, one in METRICS.items() if one.kind == "timed" and one.gate and name not in SAMPLED
)
"""Timed metrics with one number a worker, however many blocks it takes."""


def words_of(cell: Cell) -> str:
    """`austen-6m int4 bf16 cpu`."""
    repetition = f" repetition {cell.repetition}" if cell.repetition else ""
    return f"{cell.model.name} {cell.label} {cell.dtype} {cell.place}{repetition}"


def exact(suite: Suite, paired_runs: Sequence[PairedRun]) -> tuple[Finding, ...]:
    """Deterministic numbers of both versions; the baseline's cells under the candidate's ids."""
    kept: dict[Role, dict[str, BaselineCell]] = {}
    for name in ROLES:
        records = [record for paired in paired_runs if (record := paired.final(name)) is not None]
        ids = {paired.pair.entries[name].cell.id: paired.cell_id for paired in paired_runs}
        kept[name] = {
            ids[cell_id]: dataclasses.replace(one, cell_id=ids[cell_id], base=ids.get(one.base or ""))
            for cell_id, one in baseline_cells(records).items()
        }
    return exact_findings(kept["baseline"], kept["candidate"], suite.gate)


def timed(
    family: TimedComparisons, paired_runs: Sequence[PairedRun], sampling: Sampling
) -> Iterator[Finding]:
    """The family's findings under the cells' own ids, each unit with the reason that it has no more
    blocks."""
    owners: dict[str, tuple[PairedRun, Unit]] = {
        unit.key: (paired, unit) for paired in paired_runs for unit in paired.units
    }
    for paired in paired_runs:
        if why := _failure(paired):
            for unit in paired.units:
                if unit.thresholds:
                    family.fail(unit.key, why)
    open_ = {(unit.key, name) for _, unit in owners.values() for name in unit.thresholds}
    for finding in family.findings(
        "the budget ended" if sampling.exhausted else "what is left of the budget pays no other load"
    ):
        open_.discard((finding.cell_id, finding.metric))
        yield from _owned(finding, *owners[finding.cell_id])
    for key, metric in sorted(open_):
        paired, unit = owners[key]
        reason = f"neither version gave a number of it in {paired.blocks[key]} paired rounds"
        yield from _owned(Finding(key, unit.words, metric, "undecided", True, reason), paired, unit)


def _owned(finding: Finding, paired: PairedRun, unit: Unit) -> Iterator[Finding]:
    """The finding as the pair's; what is gated and could not be decided stays gated."""
    statuses = paired.statuses()
    if statuses.get("baseline") != "ok" and "baseline" not in paired.died:
        return  # nothing to compare with; the finding on the cell's status says so
    found = dataclasses.replace(finding, cell_id=paired.cell_id)
    why = _ended(paired, unit)
    if why and found.verdict == "undecided":
        known = f"{found.reason.partition('; ')[0]}; " if found.change is not None else ""
        found = dataclasses.replace(found, reason=known + why)
    elif why and found.verdict == "missing":
        found = dataclasses.replace(found, reason=f"{found.reason}: {why}")
    if jumps := left_out(paired, unit):
        found = dataclasses.replace(found, reason=f"{found.reason}; {jumps}")
    yield found


def _ended(paired: PairedRun, unit: Unit) -> str | None:
    """Reason that the unit has no more blocks, where that is not the budget."""
    died = paired.died.get("baseline")
    return paired.closed.get(unit.key) or (f"the baseline's worker ended {died}" if died else paired.apart)


def left_out(paired: PairedRun, unit: Unit) -> str | None:
    count = paired.jumps[unit.key]
    return (
        f"left out {count} paired rounds in which a round claims a time that cannot be: a clock jumps"
        if count
        else None
    )


def _failure(paired: PairedRun) -> str | None:
    """Reason that the candidate's cell has no more blocks though the baseline's could have."""
    record = paired.records.get("candidate")
    if paired.statuses().get("baseline") != "ok" or record is None or record.status == "ok":
        return None
    return f"{record.status}: {record.reason or 'no reason was recorded'}"


def only_shown(paired_runs: Sequence[PairedRun], gate: GateSpec) -> Iterator[Finding]:
    """Findings on metrics that are sampled and not gated, or have one number a load."""
    for paired in paired_runs:
        for unit in paired.units:
            yield from (one for name in unit.shown if (one := _of_blocks(paired, unit, name)) is not None)
        versions = [paired.final(name) for name in ROLES]
        limits = limits_of(gate, facts_of(paired.pair.cell))
        once = [name for name in ONCE_A_LOAD if name not in limits]  # a peak with a threshold is judged
        yield from (one for name in once if (one := _of_records(paired, name, versions)) is not None)


def _of_blocks(paired: PairedRun, unit: Unit, metric: str) -> Finding | None:
    blocks = [[block[name].get(metric) for name in ROLES] for block in paired.shown.get(unit.key, ())]
    known = [(before, now) for before, now in blocks if before is not None and now is not None]
    if not known:
        return None
    before, now = (median(values) for values in zip(*known, strict=True))
    reason = f"over {len(known)} paired rounds; the suite does not gate it"
    return _shown((paired.cell_id, unit.words, metric), reason, before, now, len(known))


def _of_records(paired: PairedRun, metric: str, versions: Sequence[Record | None]) -> Finding | None:
    before, now = (METRICS[metric].value(one) if one and one.status == "ok" else None for one in versions)
    if before is None or now is None:
        return None
    return _shown(
        (paired.cell_id, paired.words, metric), "one number a load: shown, not gated", before, now, 1
    )


def _shown(head: tuple[str, str, str], reason: str, before: float, now: float, samples: int) -> Finding:
    change = now / before if before > 0 else None
    return Finding(*head, "undecided", False, reason, before, now, change, samples=samples)


def one_sided(pair: Pair) -> Iterator[Finding]:
    """The finding on a cell that one version does not plan, or cannot run here."""
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
