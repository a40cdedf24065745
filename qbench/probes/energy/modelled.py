"""Modelled energy of a decode step: operations × pJ + bytes × pJ per byte. It measures nothing.

The table is the "rough energy costs" of M. Horowitz, "Computing's energy problem (and what we can do about
it)", ISSCC 2014, figure 1.1.9: 45 nm, 0.9 V. A product of weights takes one multiply in the format of its
operands and one add in that of its accumulator, which is int32 for int8 and fp32 for floats. Weight-only
methods multiply in the cell's dtype. A format that the table lacks (bf16, fp8) is null, for nothing in the
table says how to scale. Bytes are the weights that a step reads, at the middle of 1.3 to 2.6 nJ for 64 bit
of DRAM.

Every parameter but the input embedding is counted as one product a token: norms and biases too, which are
few, and experts that a token does not visit, which may be many. Left out: attention's own products, the KV
cache, activations, unpacking codes, control, leakage. It compares formats with each other; never compare it
with a measured figure, since today's chips are far smaller than 45 nm and read HBM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from qbench.json_object import JsonObject
from qbench.probes.latency.section import WorkloadSize
from qbench.results.columns.layers import sizes
from qbench.results.columns.metric import Metric
from qbench.results.store.lookup import Value, number, probe, remembered
from qbench.results.store.record import Record

ADD_PJ = {"int8": 0.03, "int32": 0.1, "fp16": 0.4, "fp32": 0.9}
MULTIPLY_PJ = {"int8": 0.2, "int32": 3.1, "fp16": 1.1, "fp32": 3.7}
DRAM_64_BIT_PJ = (1300.0, 2600.0)
SOURCE = "Horowitz, ISSCC 2014, figure 1.1.9 (45 nm, 0.9 V)"

DRAM_PJ_PER_BYTE = sum(DRAM_64_BIT_PJ) / 2 / 8
ACCUMULATOR = {"int8": "int32", "fp16": "fp32", "fp32": "fp32"}


class Modelled(NamedTuple):
    """Joules per generated token, or why a part is null."""

    operations_j: float | None
    dram_j: float | None
    no_operations: str | None
    no_dram: str | None

    @property
    def total_j(self) -> float | None:
        if self.operations_j is None or self.dram_j is None:
            return None
        return self.operations_j + self.dram_j


def product_pj(operands: str) -> float | None:
    """One multiply and one add; None for a format that the table lacks."""
    if operands not in MULTIPLY_PJ or operands not in ACCUMULATOR:
        return None
    return MULTIPLY_PJ[operands] + ADD_PJ[ACCUMULATOR[operands]]


@remembered
def modelled(record: Record) -> Modelled:
    """Energy of one decode step at the batch size of the cell's latency settings (else 1), per sequence."""
    operations_j, no_operations = _operations_j(record)
    dram_j, no_dram = _dram_j(record)
    return Modelled(operations_j, dram_j, no_operations, no_dram)


def products(record: Record) -> dict[str, float] | None:
    """Multiply-adds of one token by the format of their operands; None where the record does not tell."""
    parameters, embedding = number(record.model.get("parameters")), _embedding(record)
    if parameters is None or embedding is None:
        return None
    rest = parameters if record.model.get("tied_head") else parameters - embedding
    counted: dict[str, float] = {}
    for layer, weights in zip(record.layers, sizes(record), strict=True):
        if layer.get("activations") in (None, "none"):
            continue
        if outliers := layer.get("outlier_columns"):
            weights -= layer["shape"][0] * outliers
        operands = _operands(layer)
        counted[operands] = counted.get(operands, 0.0) + weights
        rest -= weights
    counted[record.cell.dtype] = counted.get(record.cell.dtype, 0.0) + rest
    return {name: count for name, count in counted.items() if count}


def _operations_j(record: Record) -> tuple[float | None, str | None]:
    counted = products(record)
    if counted is None:
        return None, "the record does not tell the model's size"
    missing = [name for name in counted if product_pj(name) is None]
    if missing:
        return None, f"the table of {SOURCE} has no {', '.join(sorted(missing))}"
    return 1e-12 * sum((product_pj(name) or 0.0) * count for name, count in counted.items()), None


def _dram_j(record: Record) -> tuple[float | None, str | None]:
    weight_bytes, embedding = number(probe(record, "memory").get("weight_bytes")), _embedding(record)
    if weight_bytes is None or embedding is None:
        return None, "memory was not measured, and so the bytes of the weights"
    table = 0.0 if record.model.get("tied_head") else embedding * (4 if record.cell.dtype == "fp32" else 2)
    return 1e-12 * DRAM_PJ_PER_BYTE * (weight_bytes - table) / WorkloadSize.first_of(
        record.cell
    ).batch_size, None


def _embedding(record: Record) -> float | None:
    """Weights of the input embedding, of which a token reads one row."""
    vocabulary, hidden = (number(record.model.get(key)) for key in ("vocabulary", "hidden_size"))
    return None if vocabulary is None or hidden is None else vocabulary * hidden


def _operands(layer: JsonObject) -> str:
    """Format of the operands in a quantized layer that rounds its inputs."""
    return "int8" if layer.get("code", "int") == "int" else str(layer["code"])


def _metric(
    name: str, description: str, part: Callable[[Modelled], Value], reason: Callable[[Modelled], str | None]
) -> Metric:
    return Metric(
        name, "J", "lower", "deterministic", "model", 3,
        f"modelled, not measured: {description} per generated token; {SOURCE}",
        lambda record: None if record.status != "ok" else part(modelled(record)),
        lambda record: reason(modelled(record)), group="Energy",
    )  # fmt: skip


METRICS = (
    _metric(
        "energy_modelled_j_per_token", "operations and bytes of the weights",
        lambda one: one.total_j, lambda one: one.no_operations or one.no_dram,
    ),
    _metric(
        "energy_modelled_operations_j_per_token", "multiplies and adds",
        lambda one: one.operations_j, lambda one: one.no_operations,
    ),
    _metric(
        "energy_modelled_dram_j_per_token", "reading the weights from DRAM",
        lambda one: one.dram_j, lambda one: one.no_dram,
    ),
)  # fmt: skip
