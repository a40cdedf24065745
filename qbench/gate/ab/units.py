"""`Unit`: a measurement that is repeated block by block for one cell, and the numbers of one repetition.

A cell has a unit for the rounds of each prompt length × batch size, one for quantizing, and one for energy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from qbench.cell import Cell
from qbench.gate.ab.pairs import Pair
from qbench.probes.energy.section import EnergySpec
from qbench.probes.latency.section import LatencySpec
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS
from qbench.run.worker.requests import Request

Kind = Literal["round", "quantize", "energy"]
Numbers = dict[str, float | None]
"""Metric → its value in one block."""

ROUND_METRICS = (
    "prefill_s", "decode_s_per_token", "prefill_tokens_per_s", "decode_tokens_per_s", "decode_step_p50_s",
    "decode_step_p90_s", "decode_step_p99_s",
)  # fmt: skip
METRICS_OF: dict[Kind, tuple[str, ...]] = {
    "round": ROUND_METRICS,
    "quantize": ("quantize_s",),
    "energy": ("energy_j_per_token", "energy_j_per_prompt_token"),
}


@dataclass(frozen=True)
class Unit:
    key: str
    """Its name among the timed comparisons."""
    cell_id: str
    words: str
    kind: Kind
    thresholds: Mapping[str, float]
    """Gated metric → the factor from which on it is worse."""
    shown: tuple[str, ...] = ()
    """Metrics that are shown and not gated."""
    workload: int = 0
    """Place of its prompt length × batch size among those of the cell."""
    prompt_length: int = 0
    batch_size: int = 0

    @property
    def request(self) -> Request:
        return Request(self.kind, self.workload)

    def numbers(self, answer: Any, cell: Cell) -> tuple[Numbers, str | None]:
        """The numbers in a worker's answer, or the reason that it has none."""
        samples, phases, why = {}, {}, None
        if self.kind == "round":
            shape = {"prompt_length": self.prompt_length, "batch_size": self.batch_size}
            samples = {"latency": {"runs": [{**shape, "prefill_s": answer[:1], "decode_s": [answer[1:]]}]}}
        elif self.kind == "quantize":
            phases, why = {"quantize": answer["seconds"]}, answer.get("reason")
        else:
            samples = {"energy": answer}
            why = str(answer["reason"]) if "reason" in answer and answer.get("value", 0) is None else None
        record = Record(cell, "", "", "ok", phases=phases, samples=samples)
        return {name: METRICS[name].value(record) for name in (*self.thresholds, *self.shown)}, why


def units_of(pair: Pair, cell_id: str, words: str, thresholds: Mapping[str, float]) -> list[Unit]:
    """The units of a cell that both versions run; `thresholds` are those of its timed metrics.

    A metric whose threshold is infinite is sampled and shown, not gated; one that has none is not sampled.
    """
    found = [_with(unit, metrics, thresholds) for unit, metrics in _possible(pair, cell_id, words)]
    return [unit for unit in found if unit.thresholds or unit.shown]


def sampled(pair: Pair) -> frozenset[str]:
    """The timed metrics that blocks of the pair can give."""
    return frozenset(name for _, metrics in _possible(pair, "", "") for name in metrics)


def _possible(pair: Pair, cell_id: str, words: str) -> Iterator[tuple[Unit, tuple[str, ...]]]:
    """Every unit that the cell could have, and its metrics."""
    cell = pair.cell
    latency = LatencySpec.of(cell)
    if latency is not None:
        for index, (length, batch) in enumerate(product(latency.prompt_lengths, latency.batch_sizes)):
            unit = Unit(f"{cell_id} {index}", cell_id, words, "round", {}, (), index, length, batch)
            if index:
                unit = replace(unit, words=f"{words}, prompt {length} × batch {batch}")
            metrics = ROUND_METRICS if latency.generated_tokens > 1 else ROUND_METRICS[:1]
            yield unit, metrics
    if pair.quantizes:
        yield Unit(f"{cell_id} quantize", cell_id, words, "quantize", {}), METRICS_OF["quantize"]
    if EnergySpec.key in cell.sections:
        yield Unit(f"{cell_id} energy", cell_id, words, "energy", {}), METRICS_OF["energy"]


def _with(unit: Unit, metrics: tuple[str, ...], thresholds: Mapping[str, float]) -> Unit:
    known = {name: thresholds[name] for name in metrics if name in thresholds}
    gated = {name: limit for name, limit in known.items() if math.isfinite(limit)}
    return replace(unit, thresholds=gated, shown=tuple(name for name in known if name not in gated))
