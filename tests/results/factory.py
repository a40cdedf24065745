"""Records built from plain dicts, in the shapes that the measuring side writes; no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qbench.cell import Cell, ModelRef
from qbench.results.store.folders import write_manifest, write_record
from qbench.results.store.record import Record

WINDOWS = 8
LOSSES = [1990.0, 2030.0, 1970.0, 2010.0, 2040.0, 1980.0, 2000.0, 2020.0]
"""Nat by window, in no order that would look like correlation."""
TOKENS = 511


SECTIONS = ("quality", "calibration", "tasks", "latency", "memory", "energy")


def cell(method: str = "none", **changes: Any) -> Cell:
    """A cell; a section that is given as None is off."""
    values: dict[str, Any] = {
        "model": ModelRef(name="austen-6m", source="builtin:austen-6m", weights="sha256:0a1b"),
        "method": method,
        "params": {} if method == "none" else {"num_bits": 8, "strategy": "channel"},
        "dtype": "bf16",
        "device": "cpu",
        "label": method,
        "quality": {
            "corpus": "builtin:persuasion",
            "protocol": "gptq",
            "seqlen": 512,
            "max_windows": WINDOWS,
        },
    }
    return Cell(**with_sections({**values, **changes}))


def with_sections(values: dict[str, Any]) -> dict[str, Any]:
    """The same arguments of a cell, its sections together."""
    found = {name: values[name] for name in SECTIONS if values.get(name) is not None}
    own = {name: value for name, value in values.items() if name not in SECTIONS}
    return {**own, "sections": {**own.get("sections", {}), **found}}


def perplexity(nll: list[float | None] | None = None, **changes: Any) -> dict[str, Any]:
    nll = list(LOSSES) if nll is None else nll
    return {
        "unit": "nat",
        "protocol": "gptq",
        "corpus": {"name": "builtin:persuasion", "sha256": "c0ffee"},
        "seqlen": 512,
        "windows": len(nll),
        "tokens": [TOKENS] * len(nll),
        "nll": nll,
        "head": "sliced",
        "elapsed_s": 1.2,
        **changes,
    }


def latency(
    prefill_s: list[float] | None = None, decode_s: list[list[float]] | None = None
) -> dict[str, Any]:
    run = {
        "prompt_length": 128,
        "batch_size": 1,
        "generated_tokens": 4,
        "prefill_s": [0.012, 0.010, 0.011] if prefill_s is None else prefill_s,
        "decode_s": [[0.004, 0.005, 0.006], [0.004, 0.004, 0.004], [0.006, 0.006, 0.006]]
        if decode_s is None
        else decode_s,
        "warmup": {"rounds": 3, "stable": True, "cv": 0.02},
    }
    return {"unit": "s", "runs": [run]}


def memory(weight_bytes: int = 11_600_000, **changes: Any) -> dict[str, Any]:
    return {
        "unit": "B",
        "disk_bytes": 11_650_000,
        "weight_bytes": weight_bytes,
        "quantized_bytes": 0,
        "metadata_bytes": 0,
        "rest_bytes": weight_bytes,
        "kv_cache_bytes": 393_216,
        "peak_memory_bytes": 30_000_000,
        "process_peak_bytes": 400_000_000,
        "quantize_peak_bytes": None,
        "baseline_bytes": 370_000_000,
        "reasons": {"quantize_peak_bytes": "nothing was quantized"},
        **changes,
    }


def samples(**changes: Any) -> dict[str, dict[str, Any]]:
    return {
        "perplexity": perplexity(),
        "latency": latency(),
        "memory": memory(),
        "energy": {"unit": "J", "value": None, "reason": "no_driver"},
        **changes,
    }


def layer(
    bits: float = 8.25, shape: tuple[int, int] = (256, 256), kernel: str = "int8_packed"
) -> dict[str, Any]:
    return {
        "name": "model.layers.0.self_attn.q_proj",
        "kind": "Linear",
        "shape": list(shape),
        "num_bits": 8,
        "strategy": "channel",
        "group_size": None,
        "activations": None,
        "requested": "auto",
        "executed": [{"kernel": kernel, "min_rows": 1, "max_rows": 512, "calls": 12}],
        "fallback_reason": None,
        "bits_per_weight": bits,
        "bytes": {"codes": shape[0] * shape[1], "scales": 512, "zeros": 0, "permutation": 0},
        "weight_error": 0.004,
    }


def record(method: str = "none", *, cell_changes: dict[str, Any] | None = None, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "cell": cell(method, **(cell_changes or {})),
        "suite": "quickstart",
        "run": "20261121T105600Z-ab12cd",
        "status": "ok",
        "started_at": "2026-11-21T10:56:01.250000+00:00",
        "ended_at": "2026-11-21T10:56:04+00:00",
        "phases": {"load": 0.2, "quantize": 0.5},
        "layers": [] if method == "none" else [layer()],
        "samples": samples(),
    }
    return Record(**{**values, **changes})


def failed(method: str = "gptq", status: str = "failed", reason: str = "ValueError: group_size 7") -> Record:
    error = {"type": "ValueError", "message": "group_size 7", "traceback": "Traceback …"}
    return record(method, status=status, reason=reason, error=error, samples={}, layers=[], phases={})


MANIFEST: dict[str, Any] = {
    "schema": 1,
    "suite": "quickstart",
    "run": "20261121T105600Z-ab12cd",
    "started_at": "2026-11-21T10:56:00+00:00",
    "ended_at": "2026-11-21T10:57:00+00:00",
    "environment": {
        "qbench": "0.1.0",
        "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
        "cpu": {"model": "AMD EPYC 9B45", "cores": 2, "flags": ["avx2", "avx512_vnni"]},
        "gpus": [{"name": "NVIDIA H100", "driver": "570.1"}],
    },
    "suite_text": "name: quickstart",
    "cells": {"0123456789abcdef": "none"},
}


def write_run(
    root: Path, records: list[Record], suite: str = "quickstart", run: str = "20261121T105600Z-ab12cd"
) -> Path:
    """Stores the records as one run under the root and returns the run's folder."""
    folder = root / suite / run
    write_manifest(folder, MANIFEST)
    for one in records:
        write_record(folder, one)
    return folder
