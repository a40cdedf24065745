"""Memory probe: bytes on disk, resident by part, and at the peak while running.

Resident bytes are storages, each counted once: a tied head, a view, and the inner tensors of a subclass all
lead to the storages behind them, so that no `numel × element_size` of a wrapper is believed. The peak is
measured on one prefill and its decode steps (`WORKLOAD`, or the first corner of the cell's latency settings).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qbench.measure.probe import Bench
from qbench.measure.process import Peak, rss_bytes
from qbench.measure.workload import Generation, check_context, prompts
from qbench.quant.linear import QuantizedLinear
from qbench.quant.sizes import resident_bytes, tensors_of
from qbench.suite.cell import EAGER

__all__ = ["Peak", "cache_bytes", "measure", "resident_bytes", "rss_bytes", "tensors_of", "weight_parts"]

WORKLOAD = {"prompt_length": 128, "batch_size": 1, "generated_tokens": 32}
"""What runs for the peak and the KV cache where the cell asks for no latency."""
COMPILED = "of a compiled model only the weights are measured; see the eager cell"


def weight_parts(model: nn.Module) -> dict[str, int]:
    """Resident bytes of the model: codes (prepared copies included), their metadata, the rest."""
    parts = [module.resident_bytes() for module in model.modules() if isinstance(module, QuantizedLinear)]
    quantized = sum(found["codes"] + found["prepared"] for found in parts)
    metadata = sum(found["scales"] + found["zeros"] + found["permutation"] for found in parts)
    total = resident_bytes(tensors_of(model))
    return {
        "weight_bytes": total,
        "quantized_bytes": quantized,
        "metadata_bytes": metadata,
        "rest_bytes": total - quantized - metadata,
    }


def cache_bytes(cache: Any) -> int:
    """Resident bytes of a transformers cache: the tensors that its layers hold."""
    return resident_bytes(
        value for layer in cache.layers for value in vars(layer).values() if isinstance(value, Tensor)
    )


def measure(bench: Bench) -> dict[str, Any]:
    """Bytes by part, and the peak of one generation above the worker before the model was loaded."""
    workload = _workload(bench)
    check_context(bench.model, workload["prompt_length"] + workload["generated_tokens"], "memory workload")
    with Peak(bench.device) as peak:
        kv_cache_bytes = _generate(bench, workload)
    baseline = bench.baseline
    eager = bench.cell.runtime == EAGER
    before = 0 if bench.device.type == "cuda" else baseline.get("rss_bytes")
    reasons = {
        "peak_memory_bytes": (peak.reason if bench.device.type == "cpu" else None) if eager else COMPILED,
        "process_peak_bytes": peak.reason if eager else COMPILED,
        "kv_cache_bytes": None if eager else COMPILED,
        "quantize_peak_bytes": None
        if baseline.get("quantize_peak_bytes") is not None
        else "nothing was quantized",
        "disk_bytes": None if baseline.get("disk_bytes") is not None else "not known",
    }
    return {
        "unit": "B",
        "disk_bytes": baseline.get("disk_bytes"),
        **weight_parts(bench.model),
        "kv_cache_bytes": kv_cache_bytes if eager else None,
        "peak_memory_bytes": _above(peak.bytes, before) if eager else None,
        "process_peak_bytes": peak.process_bytes if eager else None,
        "quantize_peak_bytes": _above(baseline.get("quantize_peak_bytes"), before),
        "baseline_bytes": baseline.get("rss_bytes"),
        "workload": workload,
        "reasons": {name: reason for name, reason in reasons.items() if reason is not None},
    }


def _workload(bench: Bench) -> dict[str, int]:
    latency = bench.cell.latency
    if latency is None:
        return dict(WORKLOAD)
    return {
        "prompt_length": latency["prompt_lengths"][0],
        "batch_size": latency["batch_sizes"][0],
        "generated_tokens": latency["generated_tokens"],
    }


@torch.inference_mode()
def _generate(bench: Bench, workload: dict[str, int]) -> int:
    """Runs the workload; the KV cache holds every token but the newest, which was never fed."""
    ids = prompts(
        bench.model, workload["batch_size"], workload["prompt_length"], bench.cell.seed, bench.device
    )
    generation = Generation(bench.model, ids)
    generation.prefill()
    for _ in range(workload["generated_tokens"] - 1):
        generation.step()
    return cache_bytes(generation.cache)


def _above(peak: int | None, before: int | None) -> int | None:
    return None if peak is None or before is None else peak - before
