"""Thresholds of the timed metrics in the section `gate`, and checks that paired runs can decide them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from qbench.fields import Rule
from qbench.gate.ab.pairs import Pair
from qbench.gate.ab.units import METRICS_OF, sampled
from qbench.gate.baseline.baseline_cell import facts_of
from qbench.gate.verdicts.limits import PEAKS, by_kind, limits_of
from qbench.results.table.metrics import METRICS
from qbench.suite.gate import GateSpec, ThresholdsSpec
from qbench.suite.positions import KeyPath
from qbench.suite.rules import fits
from qbench.suite.spec import Suite

SAMPLED = frozenset(name for names in METRICS_OF.values() for name in names)
"""Metrics that blocks of some cell can give."""


def timed_limits(gate: GateSpec, pair: Pair) -> dict[str, float]:
    """Metric → threshold of the pair's timed metrics; infinite for one that the suite says `false` to."""
    facts = facts_of(pair.cell)
    said = gate.thresholds()
    for override in gate.overrides:
        if fits(facts, override.match):
            said |= override.thresholds()
    off = {name: limit for name, limit in said.items() if not math.isfinite(limit) and name in SAMPLED}
    return {**by_kind(limits_of(gate, facts), "timed"), **off}


def check_kinds(suite: Suite) -> None:
    """SuiteError for a threshold of a metric with one number a load: blocks cannot decide it."""
    for path, name, _ in _thresholds(suite.gate):
        if name in METRICS and METRICS[name].kind == "timed" and name not in (*SAMPLED, *PEAKS):
            raise suite.error(
                path,
                f"{name} is one number a load, and two versions side by side are judged by many paired "
                "rounds: say false, or leave it out; it is shown all the same",
            )


def check_sampled(suite: Suite, pairs: Sequence[Pair]) -> None:
    """SuiteError for a threshold of a timed metric that no cell measures: nothing would ever be gated."""
    for path, name, match in _thresholds(suite.gate):
        meant = [pair for pair in pairs if fits(facts_of(pair.cell), match)]
        if name in SAMPLED and meant and not any(_gives(pair, name) for pair in meant):
            raise suite.error(
                path,
                f"no cell that this is for measures {name}; measure it (latency, energy, or a method that "
                "quantizes), or leave the threshold out",
            )


def _gives(pair: Pair, metric: str) -> bool:
    """True where the pair measures the metric; also for a cell that is skipped, whose plan may not tell."""
    return not pair.whole or metric in sampled(pair)


def _thresholds(gate: GateSpec) -> Iterator[tuple[KeyPath, str, Rule]]:
    """Place, metric and rule of every threshold that the suite names, but `false`."""
    yield from _finite(("gate",), gate, {})
    for index, override in enumerate(gate.overrides):
        yield from _finite(("gate", "overrides", index), override, override.match)


def _finite(path: KeyPath, spec: ThresholdsSpec, match: Rule) -> Iterable[tuple[KeyPath, str, Rule]]:
    return [((*path, name), name, match) for name, limit in spec.thresholds().items() if math.isfinite(limit)]
