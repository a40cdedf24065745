"""Thresholds by metric and cell: the suite's section `gate` laid over the defaults of the metric table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from qbench.gate.baseline.baseline_cell import RELATIVE, BaselineCell, gate_of
from qbench.results.table.metrics import METRICS
from qbench.suite.gate import GateSpec
from qbench.suite.rules import fits, unmatched
from qbench.suite.spec import Suite

PEAKS = tuple(name for name, metric in METRICS.items() if metric.once_a_load)
"""Metrics with one number a process, of which no test can be made: where a suite names a threshold, that
alone decides, as of what is deterministic. Without one they are shown."""
Limits = dict[str, float]
"""Gated metric → threshold: a factor, or a difference where the metric table says so."""


def limits_of(gate: GateSpec, facts: Mapping[str, str]) -> Limits:
    """Thresholds of one cell; of the `overrides` whose rules match its `facts`, the last wins."""
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
    """The `deterministic` ones, peaks among them, or the `timed`."""
    return {
        name: threshold
        for name, threshold in limits.items()
        if ("deterministic" if name in (*RELATIVE, *PEAKS) else METRICS[name].kind) == kind
    }
