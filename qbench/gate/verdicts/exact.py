"""Two sides cell by cell, where each number is the same each time: quality, bytes, bits, kernels, codes.

No test is needed here, only thresholds: a run of the same code on the same kind of machine gives the same
number to the last bit, so whatever changed was changed by the code. `environment` sees to the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from qbench.gate.baseline.baseline_cell import Kept, KeptLayer
from qbench.gate.verdicts.finding import Finding
from qbench.gate.verdicts.limits import PEAKS, Limits, by_kind, limits_of
from qbench.gate.verdicts.numbers import Side, judge
from qbench.suite.gate import GateSpec

NAMED = 3
"""Layers that a sentence names."""


def exact_findings(baseline: Side, candidate: Side, gate: GateSpec) -> tuple[Finding, ...]:
    """Every deterministic finding, in the order of the baseline, new cells last."""
    return tuple(_all(baseline, candidate, gate))


def _all(baseline: Side, candidate: Side, gate: GateSpec) -> Iterator[Finding]:
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


def _lost(before: Kept, new: set[str]) -> Iterator[Finding]:
    """`new` are the names of cells that only the candidate has."""
    gated = before.status == "ok"
    reason = "the baseline has this cell, and the candidate does not"
    if before.cell in new:
        reason += ", but one of this name with other settings: accept a run of the suite as it is now"
    yield _text(before, "status", "missing", gated, reason, before.status, None)


def _status(before: Kept, now: Kept) -> Iterator[Finding]:
    """A cell that did not end well on a side."""
    if before.status == "ok":
        reason = f"{now.status}: {now.reason or 'no reason was recorded'}"
        yield _text(now, "status", "failed", True, reason, before.status, now.status)
    elif now.status == "ok":
        reason = f"it is ok now; the baseline has {before.status}: {before.reason or 'no reason'}"
        yield _text(now, "status", "better", False, reason, before.status, now.status)
    else:
        reason = f"{now.status} as in the baseline: {now.reason or 'no reason was recorded'}"
        yield _text(now, "status", "same", False, reason, before.status, now.status)


def _both(before: Kept, now: Kept, gate: GateSpec, sides: tuple[Side, Side]) -> Iterator[Finding]:
    limits = by_kind(limits_of(gate, now.facts), "deterministic")
    before, now = (_with_peaks(side, limits) for side in (before, now))
    for metric in dict.fromkeys((*before.values, *now.values)):
        limit = limits.get(metric)
        if metric not in now.values:
            reason = f"the baseline has {metric}, and the candidate gives none"
            lost = _text(now, metric, "missing", limit is not None, reason, None, None)
            yield replace(lost, baseline=before.values[metric], threshold=limit)
        elif metric not in before.values:
            found = _text(now, metric, "new", False, f"the baseline has no {metric}", None, None)
            yield replace(found, candidate=now.values[metric])
        else:
            yield judge(metric, before, now, limit, sides)
    if before.layers or now.layers:
        yield from _kernels(before, now, gate.kernels)
        yield from _codes(before, now, gate.codes)


def _with_peaks(kept: Kept, limits: Limits) -> Kept:
    """Those that are gated stand among the values."""
    peaks = {name: kept.rounds[name][0] for name in PEAKS if name in limits and kept.rounds.get(name)}
    return replace(kept, values={**kept.values, **peaks})


def _kernels(before: Kept, now: Kept, gated: bool) -> Iterator[Finding]:
    """Worse where a layer is gone, runs another kernel or the same for other rows, or fell back."""
    wrong = [
        (name, why)
        for name, layer in before.layers.items()
        if (why := _other_kernel(layer, now.layers.get(name))) is not None
    ]
    wrong += [(name, "was not quantized") for name in now.layers if name not in before.layers]
    texts = [_distinct({layer.kernels for layer in kept.layers.values()}) for kept in (before, now)]
    if wrong:
        yield _text(now, "kernels", "worse", gated, _layers(wrong), *texts)
    else:
        yield _text(now, "kernels", "same", gated, f"the same in all {len(now.layers)} layers", *texts)


def _other_kernel(before: KeptLayer, now: KeptLayer | None) -> str | None:
    if now is None:
        return "is not quantized any more"
    if now.fallback and now.fallback != before.fallback:
        return f"fell back: {now.fallback}"
    if now.kernels != before.kernels:
        return f"ran {before.kernels or 'nothing'}, now {now.kernels or 'nothing'}"
    return None


def _codes(before: Kept, now: Kept, gated: bool) -> Iterator[Finding]:
    pairs = [
        _Codes(name, layer.codes, now.layers[name].codes)
        for name, layer in before.layers.items()
        if name in now.layers
    ]
    lost = [(pair.name, "has no hash any more") for pair in pairs if pair.before and not pair.now]
    if lost:
        yield _text(now, "codes", "missing", gated, _layers(lost), None, None)
        return
    known = [pair for pair in pairs if pair.before and pair.now]
    if not known:
        reason = "the baseline has no hash of the codes; it was recorded before there was one"
        yield _text(now, "codes", "new", False, reason, None, None)
        return
    other = [
        (pair.name, f"{pair.before} before, now {pair.now}") for pair in known if pair.before != pair.now
    ]
    if other:
        yield _text(now, "codes", "worse", gated, _layers(other), None, None)
    else:
        yield _text(now, "codes", "same", gated, f"the same in all {len(known)} layers", None, None)


@dataclass(frozen=True)
class _Codes:
    name: str
    before: str | None
    now: str | None


def _layers(wrong: list[tuple[str, str]]) -> str:
    """`2 layers changed: model.layers.0.q_proj ran a, now b; …`."""
    said = "; ".join(f"{name} {why}" for name, why in wrong[:NAMED])
    more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return f"{len(wrong)} layer{'s' if len(wrong) > 1 else ''} changed: {said}{more}"


def _distinct(kernels: set[str]) -> str:
    return " | ".join(sorted(kernels))


def _text(
    cell: Kept, metric: str, verdict: str, gated: bool, reason: str, before: str | None, now: str | None
) -> Finding:
    return Finding(cell.cell_id, cell.cell, metric, verdict, gated, reason, before, now)  # type: ignore[arg-type]
