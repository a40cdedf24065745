"""Memory probe: bytes on disk, resident by part, of the KV cache, of activations, and at the peak.

Resident bytes are storages, each counted once: a tied head, a view, and the inner tensors of a subclass all
lead to the storages behind them, so that no `numel × element_size` of a wrapper is believed. What runs is one
prefill and its decode steps (`WorkloadSize.first_of`), twice: for the
peaks of the process and the allocator, and then, prefill and step apart, for activations. Definitions and
limits: docs/memory.md.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from qbench.cell import EAGER
from qbench.json_object import JsonObject
from qbench.measure.bench import Bench
from qbench.measure.generation import Generation, check_context, prompts
from qbench.measure.process import NOT_ON_CPU, Peak, gpu_memory, rss_bytes
from qbench.probes.latency.section import WorkloadSize
from qbench.probes.memory.measure.allocations import track
from qbench.quant.model.sizes import METADATA, resident_bytes, saved_bytes
from qbench.quant.model.sizes import weight_parts as parts_of

COMPILED = "of a compiled model only the weights are measured; see the eager cell"
RUNNING = (
    "kv_cache_bytes", "kv_cache_bytes_per_token", "activation_bytes", "peak_memory_bytes",
    "peak_over_loaded_bytes", "process_peak_bytes", "reserved_peak_bytes", "process_gpu_bytes",
    "device_used_bytes",
)  # fmt: skip
"""Metrics of what is measured while the model runs."""
Values = dict[str, int | str | None]


def weight_parts(model: nn.Module) -> dict[str, int]:
    """Resident bytes of the model: codes (prepared copies included), their metadata, embeddings, the rest."""
    parts = parts_of(model)
    rest = parts["embeddings"] + parts["other"]
    return {
        "weight_bytes": sum(parts.values()),
        "quantized_bytes": parts["codes"],
        "metadata_bytes": sum(parts[name] for name in METADATA),
        "rest_bytes": rest,
        "embedding_bytes": parts["embeddings"],
        **{f"{name}_bytes": parts[name] for name in METADATA},
    }


def cache_bytes(cache: Any) -> int:
    """Resident bytes of a transformers cache: the storages behind the tensors that its layers hold.

    A sliding-window layer keeps a view of the newest tokens, and with it the storage that the view was cut
    from."""
    return resident_bytes(
        value for layer in cache.layers for value in vars(layer).values() if isinstance(value, Tensor)
    )


def measure(bench: Bench) -> JsonObject:
    """Bytes by part, and the peaks of one generation above the worker before the model was loaded."""
    workload = WorkloadSize.first_of(bench.cell)
    check_context(bench.model, workload.tokens, "memory workload")
    baseline = bench.baseline
    values: Values = {
        "disk_bytes": baseline.get("disk_bytes"),
        "saved_bytes": saved_bytes(bench.model),
        **weight_parts(bench.model),
        "quantize_peak_bytes": _above(baseline.get("quantize_peak_bytes"), _before(bench)),
        "baseline_bytes": baseline.get("rss_bytes"),
    }
    why: dict[str, str | None] = {"disk_bytes": "not known", "quantize_peak_bytes": "nothing was quantized"}
    if bench.cell.runtime == EAGER:
        running, reasons = _running(bench, workload)
        values, why = values | running, why | reasons
    reasons = {name: str(why[name]) for name, value in values.items() if value is None and why.get(name)}
    if bench.cell.runtime != EAGER:
        values |= dict.fromkeys(RUNNING)
        reasons |= dict.fromkeys(RUNNING, COMPILED)
    elif unknown := reasons.get("process_peak_bytes") or reasons.get("loaded_rss_bytes"):
        reasons["peak_over_loaded_bytes"] = unknown
    return {"unit": "B", **values, "workload": asdict(workload), "reasons": reasons}


def _running(bench: Bench, workload: WorkloadSize) -> tuple[Values, dict[str, str | None]]:
    """Bytes that two generations show, and why some may be null."""
    loaded_rss = rss_bytes()
    with Peak(bench.device) as peak:
        generation = _generate(bench, workload)
    kind, size = type(generation.cache).__name__, cache_bytes(generation.cache)
    gpu, gpu_reasons = gpu_memory(bench.device)
    del generation
    values: Values = {
        "kv_cache_bytes": size,
        "kv_cache": kind,
        **_activations(bench, workload),
        "peak_memory_bytes": _above(peak.bytes, _before(bench)),
        "reserved_peak_bytes": peak.reserved_bytes,
        "process_peak_bytes": peak.process_bytes,
        "loaded_rss_bytes": loaded_rss,
        **gpu,
    }
    why: dict[str, str | None] = {
        "peak_memory_bytes": peak.reason or "the memory before the model was loaded is not known",
        "process_peak_bytes": peak.reason,
        "loaded_rss_bytes": "the system does not tell what a process holds",
        "reserved_peak_bytes": NOT_ON_CPU,
        "activation_bytes": "torch's profiler told of no allocation",
        **gpu_reasons,
    }
    return values, why


def _before(bench: Bench) -> int | None:
    """The worker's memory before the model was loaded; a GPU's allocator had none."""
    return 0 if bench.device.type == "cuda" else bench.baseline.get("rss_bytes")


@torch.inference_mode()
def _generate(bench: Bench, workload: WorkloadSize) -> Generation:
    """Runs the workload; its KV cache holds every token but the newest, which was never fed."""
    generation = _begin(bench, workload)
    generation.prefill()
    for _ in range(workload.generated_tokens - 1):
        generation.step()
    return generation


def _begin(bench: Bench, workload: WorkloadSize) -> Generation:
    ids = prompts(bench.model, workload.batch_size, workload.prompt_length, bench.cell.seed, bench.device)
    return Generation(bench.model, ids)


@torch.inference_mode()
def _activations(bench: Bench, workload: WorkloadSize) -> dict[str, int | None]:
    """Peaks of prefill and of one step above what stays allocated: the weights and the KV cache."""
    generation = _begin(bench, workload)
    prefill = track(generation.prefill, bench.device)
    step = track(generation.step, bench.device)
    if prefill is None or step is None:
        return {"activation_bytes": None, "prefill_activation_bytes": None, "step_activation_bytes": None}
    apart = {
        "prefill_activation_bytes": max(0, prefill.peak - prefill.kept),
        "step_activation_bytes": max(0, step.peak - step.kept),
    }
    return {"activation_bytes": max(apart.values()), **apart}


def _above(peak: int | None, before: int | None) -> int | None:
    return None if peak is None or before is None else peak - before
