"""Findings on deterministic values, cell by cell: quality, bytes, bits, kernels, codes.

Thresholds suffice, without a test: a run of the same code on the same kind of machine gives the same
number to the last bit, so the code changed whatever changed. `qbench.results.compare.comparable` checks that
the machines are of the same kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from qbench.gate.baseline.baseline_cell import BaselineCell, BaselineLayer
from qbench.gate.verdicts.finding import Finding, Verdict
from qbench.gate.verdicts.limits import PEAKS, Limits, by_kind, limits_of
from qbench.gate.verdicts.numbers import Cells, judge
from qbench.suite.gate import GateSpec

NAMED = 3
"""Most layers that a sentence names."""


def exact_findings(baseline: Cells, candidate: Cells, gate: GateSpec) -> tuple[Finding, ...]:
    """Every deterministic finding, in the order of the baseline, new cells last."""
    return tuple(_all(baseline, candidate, gate))


def _all(baseline: Cells, candidate: Cells, gate: GateSpec) -> Iterator[Finding]:
    new = {cell.cell for name, cell in candidate.items() if name not in baseline}
    for name, before in baseline.items():
        now = candidate.get(name)
        if now is None:
            yield from _lost(before, new)
        elif before.status == now.status == "ok":
            yield from _both(before, now, gate, (baseline, candidate))
        else:
            yield from _status(before, now)
    for name, now in candidate.items():
        if name not in baseline:
            reason = "the baseline has no such cell; accept the run to compare with it from now on"
            yield _text(now, "status", "new", False, reason, None, now.status)


def _lost(before: BaselineCell, new: set[str]) -> Iterator[Finding]:
    """Finding on a cell that only the baseline has; `new` names the cells that only the candidate has."""
    gated = before.status == "ok"
    reason = "the baseline has this cell, and the candidate does not"
    if before.cell in new:
        reason += ", but one of this name with other settings: accept a run of the suite as it is now"
    yield _text(before, "status", "missing", gated, reason, before.status, None)


def _status(before: BaselineCell, now: BaselineCell) -> Iterator[Finding]:
    """Finding on a cell that did not end well on at least one side."""
    if before.status == "ok":
        reason = f"{now.status}: {now.reason or 'no reason was recorded'}"
        yield _text(now, "status", "failed", True, reason, before.status, now.status)
    elif now.status == "ok":
        reason = f"it is ok now; the baseline has {before.status}: {before.reason or 'no reason'}"
        yield _text(now, "status", "better", False, reason, before.status, now.status)
    else:
        reason = f"{now.status} as in the baseline: {now.reason or 'no reason was recorded'}"
        yield _text(now, "status", "same", False, reason, before.status, now.status)


def _both(
    before: BaselineCell, now: BaselineCell, gate: GateSpec, sides: tuple[Cells, Cells]
) -> Iterator[Finding]:
    limits = by_kind(limits_of(gate, now.facts), "deterministic")
    before, now = (_with_peaks(side, limits) for side in (before, now))
    for metric in dict.fromkeys((*before.values, *now.values)):
        limit = limits.get(metric)
        if metric not in now.values:
            reason = f"the baseline has {metric}, and the candidate gives none"
            lost = _text(now, metric, "missing", limit is not None, reason)
            yield replace(lost, baseline=before.values[metric], threshold=limit)
        elif metric not in before.values:
            found = _text(now, metric, "new", False, f"the baseline has no {metric}")
            yield replace(found, candidate=now.values[metric])
        else:
            yield judge(metric, before, now, limit, sides)
    if before.layers or now.layers:
        yield from _kernels(before, now, gate.kernels)
        yield from _codes(before, now, gate.codes)


def _with_peaks(cell: BaselineCell, limits: Limits) -> BaselineCell:
    """The cell with its gated memory peaks among the values."""
    peaks = {name: cell.rounds[name][0] for name in PEAKS if name in limits and cell.rounds.get(name)}
    return replace(cell, values={**cell.values, **peaks})


def _kernels(before: BaselineCell, now: BaselineCell, gated: bool) -> Iterator[Finding]:
    """Worse where a layer is gone, runs another kernel or the same for other rows, or fell back."""
    wrong = [
        (name, why)
        for name, layer in before.layers.items()
        if (why := _other_kernel(layer, now.layers.get(name))) is not None
    ]
    wrong += [(name, "was not quantized") for name in now.layers if name not in before.layers]
    texts = [_distinct({layer.kernels for layer in cell.layers.values()}) for cell in (before, now)]
    if wrong:
        yield _text(now, "kernels", "worse", gated, _layers(wrong), *texts)
    else:
        yield _text(now, "kernels", "same", gated, f"the same in all {len(now.layers)} layers", *texts)


def _other_kernel(before: BaselineLayer, now: BaselineLayer | None) -> str | None:
    if now is None:
        return "is not quantized any more"
    if now.fallback and now.fallback != before.fallback:
        return f"fell back: {now.fallback}"
    if now.kernels != before.kernels:
        return f"ran {before.kernels or 'nothing'}, now {now.kernels or 'nothing'}"
    return None


def _codes(before: BaselineCell, now: BaselineCell, gated: bool) -> Iterator[Finding]:
    pairs = [
        (name, layer.codes, now.layers[name].codes)
        for name, layer in before.layers.items()
        if name in now.layers
    ]
    lost = [(name, "has no hash any more") for name, old, new in pairs if old and not new]
    if lost:
        yield _text(now, "codes", "missing", gated, _layers(lost))
        return
    known = [pair for pair in pairs if all(pair)]
    if not known:
        reason = "the baseline has no hash of the codes; it was recorded before there was one"
        yield _text(now, "codes", "new", False, reason)
        return
    other = [(name, f"{old} before, now {new}") for name, old, new in known if old != new]
    if other:
        yield _text(now, "codes", "worse", gated, _layers(other))
    else:
        yield _text(now, "codes", "same", gated, f"the same in all {len(known)} layers")


def _layers(wrong: list[tuple[str, str]]) -> str:
    """`2 layers changed: model.layers.0.q_proj ran a, now b; …`."""
    said = "; ".join(f"{name} {why}" for name, why in wrong[:NAMED])
    more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return f"{len(wrong)} layer{'s' if len(wrong) > 1 else ''} changed: {said}{more}"


def _distinct(kernels: set[str]) -> str:
    return " | ".join(sorted(kernels))


def _text(
    cell: BaselineCell,
    metric: str,
    verdict: Verdict,
    gated: bool,
    reason: str,
    before: str | None = None,
    now: str | None = None,
) -> Finding:
    """Finding on something that is no number, or that a side lacks."""
    return Finding(cell.cell_id, cell.cell, metric, verdict, gated, reason, before, now)
