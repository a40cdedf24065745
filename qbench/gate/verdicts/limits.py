"""Which threshold holds for which metric of which cell: the suite's section `gate` over the metric table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from qbench.gate.baseline.baseline_cell import RELATIVE, BaselineCell, gate_of
from qbench.results.table.metrics import METRICS
from qbench.suite.gate import GateSpec
from qbench.suite.rules import fits, unmatched
from qbench.suite.spec import Suite

PEAKS = ("peak_memory_bytes", "quantize_peak_bytes")
"""One number of a run or a load, of which no test can be made: where a suite names a threshold, that alone
decides, as of what is deterministic. Without one they are shown."""
Limits = dict[str, float]
"""Metric → threshold, of what is gated: a factor, or a difference where the metric table says so."""


def limits_of(gate: GateSpec, facts: Mapping[str, str]) -> Limits:
    """Of one cell, whose `facts` the rules of `overrides` are read against; the last that matches wins."""
    found = {
        name: known.threshold
        for name in (*METRICS, *RELATIVE)
        if (known := gate_of(name)) is not None and known.threshold is not None
    }
    found |= gate.thresholds()
    for override in gate.overrides:
        if fits(facts, override.match):
            found |= override.thresholds()
    return {name: threshold for name, threshold in found.items() if math.isfinite(threshold)}


def check_overrides(suite: Suite, cells: Iterable[BaselineCell]) -> None:
    """Raises SuiteError, at its place in the file, for an override that no cell matches."""
    facts = [cell.facts for cell in cells]
    for index, override in enumerate(suite.gate.overrides):
        complaint = unmatched(override.match, facts) if facts else None
        if complaint is not None:
            path, message = complaint
            raise suite.error(("gate", "overrides", index, "match", *path), message.replace("corner", "cell"))


def by_kind(limits: Mapping[str, float], kind: str) -> Limits:
    """Only the `deterministic` ones, peaks among them, or the `timed`."""
    return {
        name: threshold
        for name, threshold in limits.items()
        if ("deterministic" if name in (*RELATIVE, *PEAKS) else METRICS[name].kind) == kind
    }
