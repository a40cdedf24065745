"""Metrics of a cell's layers: true bits, error of the weights, kernels that ran."""

from __future__ import annotations

import math
from operator import mul
from statistics import median

from qbench.results.columns.column import Display, Gate, Place
from qbench.results.columns.metric import Metric, Text, fact
from qbench.results.store.lookup import Value, remembered
from qbench.results.store.record import Record

DTYPE_BITS = {"fp32": 32.0, "bf16": 16.0, "fp16": 16.0}


@remembered
def sizes(record: Record) -> list[int]:
    """Weights of each layer, in order; 1 where its shape is not told."""
    return [math.prod(layer.get("shape", ())) for layer in record.layers]


def bits_per_weight(record: Record) -> Value:
    """Mean over the weights of all quantized layers, metadata included; the dtype's width for `none`."""
    if record.cell.method == "none":
        return DTYPE_BITS.get(record.cell.dtype)
    counts = sizes(record)
    bits = [layer.get("bits_per_weight") for layer in record.layers]
    if not counts or None in bits:
        return None
    return float(sum(map(mul, bits, counts)) / sum(counts))


def kernels(record: Record) -> list[str]:
    """The distinct kernels that ran, in alphabetical order."""
    return sorted({run["kernel"] for layer in record.layers for run in layer.get("executed", [])})


def _kernels_text(record: Record) -> str | None:
    return ", ".join(kernels(record)) or None


def layer_count(record: Record) -> Value:
    return float(len(record.layers)) if record.layers or record.status == "ok" else None


def fallback_layers(record: Record) -> Value:
    return (
        float(sum(bool(layer.get("fallback_reason")) for layer in record.layers)) if record.layers else None
    )


def weight_error(record: Record) -> Value:
    """Median over the quantized layers of ‖w − ŵ‖ / ‖w‖."""
    errors = [layer["weight_error"] for layer in record.layers if layer.get("weight_error") is not None]
    return float(median(errors)) if errors else None


METRICS = (
    Metric(
        "bits_per_weight", "bit", "lower", "deterministic", "layers", 4,
        "true bits per weight of the quantized layers, scales and zeros included; for `none`, of the dtype",
        bits_per_weight, gate=Gate(1.001), group="Quality", place=Place.FIRST, chosen=True,
        display=Display(10, narrow="Bits", digits=3),
    ),
    Metric(
        "weight_error", "", "lower", "deterministic", "layers", 3,
        "relative error ‖w − ŵ‖ / ‖w‖ of the weights, median over the quantized layers", weight_error,
        gate=Gate(1.01), group="Quality",
    ),
    fact("layers_quantized", "layers", "how many layers were quantized", layer_count, group="Quality"),
    fact(
        "layers_fallback", "layers", "how many ran on another kernel than asked", fallback_layers,
        group="Quality",
    ),
)  # fmt: skip

TEXTS = (Text("kernels", "distinct kernels that ran, comma separated", _kernels_text, dimension=True),)
