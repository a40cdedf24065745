"""What the layers of a cell say: true bits, error of the weights, kernels that ran."""

from __future__ import annotations

import math
from statistics import median

from qbench.results.metric import Metric, fact
from qbench.results.record import Record
from qbench.results.samples import Value

DTYPE_BITS = {"fp32": 32.0, "bf16": 16.0, "fp16": 16.0}


def bits_per_weight(record: Record) -> Value:
    """Mean over the weights of all quantized layers, metadata included; the dtype's width for `none`."""
    if record.cell.method == "none":
        return DTYPE_BITS.get(record.cell.dtype)
    stored, weights = 0.0, 0
    for layer in record.layers:
        bits = layer.get("bits_per_weight")
        if bits is None:
            return None
        count = math.prod(layer.get("shape", ()))
        stored += bits * count
        weights += count
    return stored / weights if weights else None


def kernels(record: Record) -> list[str]:
    """The distinct kernels that ran, in alphabetical order."""
    return sorted({run["kernel"] for layer in record.layers for run in layer.get("executed", [])})


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
        bits_per_weight,
    ),
    Metric(
        "weight_error", "", "lower", "deterministic", "layers", 3,
        "relative error ‖w − ŵ‖ / ‖w‖ of the weights, median over the quantized layers", weight_error,
    ),
    fact("layers_quantized", "layers", "how many layers were quantized", layer_count),
    fact("layers_fallback", "layers", "how many ran on another kernel than asked", fallback_layers),
)  # fmt: skip
