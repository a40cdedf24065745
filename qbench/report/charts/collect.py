"""Data of charts that the frame lacks, collected from records while the frame is built.

    collected = Collected()
    for record in records:
        collected.add(chart_facts(record))

Held for each cell: the layers' errors and kernels, latency by prompt length and batch size where there is
more than one, and of a few cells the energy windows. Nothing of it grows with the length of a text.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass, field
from math import nan

from qbench.json_object import JsonObject
from qbench.probes.latency.workloads import Workload, workloads
from qbench.results.stats.medians import median_interval, quantile
from qbench.results.store.lookup import number, probe
from qbench.results.store.record import Record

Key = tuple[str, str]
"""Run and cell id."""
ENERGY_CELLS = 200
"""Cells of a report whose energy windows are drawn."""


@dataclass(frozen=True)
class Layers:
    """One cell's quantized layers, in the model's order."""

    names: tuple[str, ...]
    errors: array[float]
    """‖w − ŵ‖ / ‖w‖; nan where none was recorded."""
    kernels: tuple[str, ...]
    """The kernels that ran, joined by ` + ` in the order of rows; empty where none did."""


@dataclass(frozen=True)
class Timed:
    """One prompt length and batch size of one cell: median, then low and high (else least and most)."""

    prompt_length: int
    batch_size: int
    prefill_s: tuple[float, float, float] | None
    decode_s_per_token: tuple[float, float, float] | None


@dataclass(frozen=True)
class ChartFacts:
    """Data of one record for charts; small enough to be sent by another process."""

    key: Key
    layers: Layers | None
    timed: list[Timed]
    energy: JsonObject


@dataclass
class Collected:
    """Data of all records for charts, by cell."""

    layers: dict[Key, Layers] = field(default_factory=dict)
    timed: dict[Key, list[Timed]] = field(default_factory=dict)
    energy: dict[Key, JsonObject] = field(default_factory=dict)
    energy_left_out: int = 0
    _names: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def add(self, found: ChartFacts | None) -> None:
        """Adds what `chart_facts` returned."""
        if found is None:
            return
        if found.layers:
            names = self._names.setdefault(found.layers.names, found.layers.names)
            self.layers[found.key] = Layers(names, found.layers.errors, found.layers.kernels)
        if found.timed:
            self.timed[found.key] = found.timed
        if found.energy and len(self.energy) < ENERGY_CELLS:
            self.energy[found.key] = found.energy
        elif found.energy:
            self.energy_left_out += 1


def chart_facts(record: Record) -> ChartFacts | None:
    """The record's data for charts; None unless it is ok."""
    if record.status != "ok":
        return None
    several = len(probe(record, "latency").get("runs") or ()) > 1
    return ChartFacts(
        key=(record.run, record.cell.id),
        layers=_layers(record) if record.layers else None,
        timed=[_timed(workload) for workload in workloads(record)] if several else [],
        energy=dict(probe(record, "energy")),
    )


def _layers(record: Record) -> Layers:
    errors = (number(layer.get("weight_error")) for layer in record.layers)
    return Layers(
        tuple(str(layer.get("name"))[:200] for layer in record.layers),
        array("d", (nan if error is None else error for error in errors)),
        tuple(sys.intern(_kernels(layer)) for layer in record.layers),
    )


def _kernels(layer: JsonObject) -> str:
    ran = sorted(layer.get("executed") or (), key=lambda run: (run.get("min_rows") or 0, str(run["kernel"])))
    return " + ".join(dict.fromkeys(str(run["kernel"])[:60] for run in ran))


def _timed(workload: Workload) -> Timed:
    length, batch = int(workload.run["prompt_length"]), int(workload.run["batch_size"])
    return Timed(length, batch, _spread(workload.prefill), _spread(workload.decode))


def _spread(seconds: list[float]) -> tuple[float, float, float] | None:
    middle = quantile(sorted(seconds), 0.5)
    if middle is None:
        return None
    low, high = median_interval(seconds) or (min(seconds), max(seconds))
    return middle, low, high
