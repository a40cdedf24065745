"""`BaselineCell`: the part of one cell that the gate compares, small enough to be committed.

Both sides of a comparison are brought into this form, so that a stored baseline and a fresh run are read by
the same code. Values are computed from the raw samples. Losses by window are kept, since ratios and their
intervals are paired by window, and so are the single rounds of what is timed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from qbench.cell import Cell
from qbench.errors import ResultsError
from qbench.json_object import JsonObject
from qbench.probes.quality.metrics import windows
from qbench.results.columns.column import Gate
from qbench.results.compare.compare import described
from qbench.results.frames.base import base_of, find_bases, measured_of, related_of, relations_of
from qbench.results.store.record import Record, by_id, reading
from qbench.results.table.columns import related
from qbench.results.table.metrics import METRICS

RELATIVE: dict[str, Gate] = {
    column.name: column.gate for column in related() if column.gate and column.kind == "deterministic"
}
"""Columns of the frame that the gate looks at beside the metric table: they relate a cell to its base."""
DIGITS = 16
"""Leading digits kept of a hash."""


@dataclass(frozen=True)
class BaselineLayer:
    """A quantized layer: the kernels that ran it, and a hash of what it stores."""

    kernels: str
    """`packed_native 1-128, dequant_gemm 2044`: kernel and the numbers of rows that it ran."""
    fallback: str | None = None
    """Reason why another kernel than the one asked for ran."""
    codes: str | None = None
    """First digits of the hash of all that the layer stores; None in records of before there was one."""


@dataclass(frozen=True)
class BaselineCell:
    """One cell of one side of a comparison."""

    cell_id: str
    cell: str
    """Model, label, dtype and device in words."""
    facts: dict[str, str]
    """Facts that rules of a suite are matched against: model, method, dtype, device, label, parameters …"""
    status: str
    reason: str | None = None
    values: dict[str, float] = field(default_factory=dict)
    """Deterministic metrics that can be gated, and `RELATIVE` ones."""
    nll: list[float] = field(default_factory=list)
    """Nat by window."""
    tokens: list[float] = field(default_factory=list)
    """Scored tokens by window."""
    windows: str = ""
    """Hash of protocol, text, window length and stride: losses are paired where it is equal."""
    base: str | None = None
    """Cell id of the unquantized one that ratios relate to."""
    rounds: dict[str, list[float]] = field(default_factory=dict)
    """Timed metric → single rounds, or the one value that there is."""
    layers: dict[str, BaselineLayer] = field(default_factory=dict)

    def to_dict(self) -> JsonObject:
        """JSON values: fields that are empty are left out, layers that ran alike are grouped."""
        whole = {**dataclasses.asdict(self), "layers": _grouped(self.layers)}
        return {key: value for key, value in whole.items() if value not in (None, [], {}, "")}

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Reads what `to_dict` wrote; ResultsError where the data is no such cell."""
        try:
            cell = cls(**{**data, "layers": _layers(data.get("layers", []))})
            numbers = [
                *cell.values.values(),
                *cell.nll,
                *cell.tokens,
                *itertools.chain(*cell.rounds.values()),
            ]
            if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
                raise TypeError("a value is no number")
        except (TypeError, AttributeError, KeyError) as error:
            raise ResultsError(f"not a baseline cell: {error}") from error
        return cell


def baseline_cells(records: Iterable[Record]) -> dict[str, BaselineCell]:
    """Cell id → the baseline cell of its record; of two records of one cell, of the newer.

    ResultsError names a record with malformed values.
    """
    newest, cells = by_id(records), {}
    for name, record in newest.items():
        with reading(record):
            cells[name] = related_of(record, name, measured_of(record))
    bases = find_bases(cells.values())
    found = {}
    for name, record in newest.items():
        base = base_of(cells[name], bases) if record.status == "ok" else None
        relations = relations_of(cells[name], base) if base and base.cell_id != name else {}
        with reading(record):
            found[name] = _baseline_cell(record, base.cell_id if base else None, relations)
    return found


def facts_of(cell: Cell) -> dict[str, str]:
    """Facts of a cell that rules of a suite are matched against; parameters with their defaults."""
    params = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in cell.params.items()
    }
    own = {name: getattr(cell, name) for name in ("method", "dtype", "device", "runtime", "label")}
    return {**params, "model": cell.model.name, **own}


def gate_of(metric: str) -> Gate | None:
    """Default gate of a metric or of a `RELATIVE` column; None where it has none."""
    return RELATIVE.get(metric) or (METRICS[metric].gate if metric in METRICS else None)


def _baseline_cell(record: Record, base: str | None, relations: Mapping[str, float]) -> BaselineCell:
    name = described(record).removesuffix(f" ({record.status})")
    head = BaselineCell(record.cell.id, name, facts_of(record.cell), record.status, record.reason)
    if record.status != "ok":
        return head
    values = {
        metric.name: value
        for metric in METRICS.values()
        if metric.gate and metric.kind == "deterministic" and (value := metric.value(record)) is not None
    }
    values |= {name: value for name, value in relations.items() if name in RELATIVE}
    nll, tokens = windows(record) or ([], [])
    return dataclasses.replace(
        head, values=values, nll=nll, tokens=tokens, windows=_scored_on(record) if nll else "", base=base,
        rounds=_rounds(record), layers={layer["name"]: _layer(layer) for layer in record.layers},
    )  # fmt: skip


def _grouped(layers: Mapping[str, BaselineLayer]) -> list[JsonObject]:
    """A group for each `kernels` and `fallback`, with `codes` by the names of its layers."""
    found: dict[tuple[str, str | None], dict[str, str | None]] = {}
    for name, layer in layers.items():
        found.setdefault((layer.kernels, layer.fallback), {})[name] = layer.codes
    return [
        {"kernels": kernels, "fallback": fallback, "codes": codes}
        for (kernels, fallback), codes in found.items()
    ]


def _layers(groups: Iterable[Mapping[str, Any]]) -> dict[str, BaselineLayer]:
    return {
        name: BaselineLayer(group["kernels"], group["fallback"], codes)
        for group in groups
        for name, codes in group["codes"].items()
    }


def _rounds(record: Record) -> dict[str, list[float]]:
    """Single repetitions where there are any, else the record's one value."""
    found = {}
    for metric in METRICS.values():
        if metric.gate and metric.kind == "timed" and (value := metric.value(record)) is not None:
            repetitions = metric.repetitions(record) if metric.repetitions else ()
            found[metric.name] = list(repetitions) or [value]
    return found


def _layer(layer: Mapping[str, Any]) -> BaselineLayer:
    codes = layer.get("codes_sha256")
    ran = sorted(layer.get("executed", ()), key=lambda run: (run["min_rows"], run["kernel"]))
    return BaselineLayer(
        ", ".join(f"{run['kernel']} {_rows(run['min_rows'], run['max_rows'])}" for run in ran),
        layer.get("fallback_reason"),
        codes[:DIGITS] if codes else None,
    )


def _rows(least: int, most: int) -> str:
    return str(least) if least == most else f"{least}-{most}"


def _scored_on(record: Record) -> str:
    found = record.samples["perplexity"]
    text = [found.get("protocol"), (found.get("corpus") or {}).get("sha256"), found.get("seqlen")]
    whole = json.dumps([*text, found.get("stride"), found.get("tokens")])
    return hashlib.sha256(whole.encode()).hexdigest()[:DIGITS]
