"""Thousands of records of the size and the shapes that real runs write, quickly: for benchmarks and analyses.

What is in them is drawn from a seeded generator so that they look like measurements (fewer bits lose more,
weigh less and decode faster) and no two are alike; it says nothing of any real method.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from qbench.cell import Cell, ModelRef
from qbench.results.store.folders import write_manifest
from qbench.results.store.record import Record
from tests.results import factory

RUN = "20261121T105600Z-ab12cd"
SUITE = "many"
WINDOWS, ROUNDS, STEPS, LAYERS = 40, 7, 15, 24
MODELS = ("austen-6m", "smollm2-135m", "smollm2-360m", "qwen3-0.6b", "llama-3.2-1b")
DTYPES = ("bf16", "fp32")
METHODS = ("absmax", "zeropoint", "hqq", "gptq", "int4")
BITS = (8, 4, 3, 2)
GROUPS = (32, 64, 128, 256)
KINDS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def many(count: int, *, layers: int = LAYERS, seed: int = 0, corners: int = 1) -> Iterator[Record]:
    """`count` records of one run: every model and dtype has its base, one in fifty failed.

    `corners`: how many batch sizes each was timed with.
    """
    rng = np.random.default_rng(seed)
    for place, (model, dtype, method, bits, group, repetition) in enumerate(_corners(count)):
        cell = Cell(
            model=ModelRef(model, f"hub:{model}", f"sha256:{model}"),
            method=method,
            params={} if method == "none" else _params(bits, group),
            dtype=dtype,
            device="cpu",
            label=method if method == "none" else f"{method} {bits} g{group}",
            sections={
                "quality": {"protocol": "gptq", "seqlen": 512, "stride": None, "max_windows": WINDOWS},
                "latency": {"prompt_lengths": [128], "batch_sizes": [2**number for number in range(corners)]},
            },
            repetition=repetition,
        )
        if method != "none" and place % 50 == 12:
            yield Record(cell, SUITE, RUN, "failed", "KernelError: no kernel for 256 inputs", **_times(place))
        else:
            yield _record(cell, place, bits if method != "none" else 16, group, layers, rng)


def write_many(root: Path, count: int, **changes: Any) -> Path:
    """Stores `many` below the root, without the care for power cuts that `write_record` takes."""
    import json

    folder = root / SUITE / RUN
    write_manifest(folder, {**factory.MANIFEST, "suite": SUITE, "run": RUN})
    for record in many(count, **changes):
        data = {**vars(record), "cell": record.cell.to_dict(), "cell_id": record.cell.id}
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        (folder / f"{record.cell.id}.json").write_text(text + "\n")
    return folder


def _corners(count: int) -> Iterator[tuple[str, str, str, int, int, int]]:
    """Bases first, then the grid, again and again as other repetitions."""
    bases = [(model, dtype, "none", 16, 0, 0) for model in MODELS for dtype in DTYPES]
    grid = (
        (model, dtype, method, bits, group, repetition)
        for repetition in itertools.count()
        for model, dtype, method, bits, group in itertools.product(MODELS, DTYPES, METHODS, BITS, GROUPS)
    )
    return itertools.islice(itertools.chain(bases, grid), count)


def _params(bits: int, group: int) -> dict[str, Any]:
    return {
        "num_bits": bits, "strategy": "group", "group_size": group, "symmetric": False, "range": "minmax",
        "act_order": True, "static_groups": True, "damp": 0.01, "block_size": 128,
    }  # fmt: skip


def _times(place: int) -> dict[str, str]:
    minute, second = divmod(place % 3600, 60)
    return {
        "started_at": f"2026-11-21T10:{minute:02}:{second:02}.250000+00:00",
        "ended_at": f"2026-11-21T11:{minute:02}:{second:02}+00:00",
    }


def _record(cell: Cell, place: int, bits: int, group: int, layers: int, rng: np.random.Generator) -> Record:
    loss = 0.0 if bits == 16 else 4.0**-bits * (1 + group / 512) * (1 + METHODS.index(cell.method) / 10)
    true_bits = 16.0 if bits == 16 else bits + 20 / group
    return Record(
        cell, SUITE, RUN, "ok",
        phases={"start": 0.018, "load": 0.1 + rng.random(), "quantize": 1 + rng.random(), "perplexity": 2},
        environment={"threads": 2, "load_average": [0.9, 1.2, 1.6], "peak_rss_bytes": 493768704,
                     "pid": place},
        model={
            "class": "LlamaForCausalLM", "parameters": 5770496, "layers": 6, "hidden_size": 256,
            "vocabulary": 4096, "context": 512, "tied_head": True, "weights": "pretrained",
        },
        layers=[] if bits == 16 else [_layer(cell, number, true_bits, loss, rng) for number in range(layers)],
        samples={
            "perplexity": _perplexity(loss, rng),
            "memory": factory.memory(int(5770496 * true_bits / 8), kv_cache="DynamicCache"),
            "latency": {
                "unit": "s",
                "runs": [_timed(batch, true_bits, rng) for batch in cell.sections["latency"]["batch_sizes"]],
                "interleaved_with": [], "not_interleaved_with": {},
            },
            "energy": {"unit": "J", "value": None, "reason": "no_driver", "detail": "no RAPL"},
        },
        **_times(place),
    )  # fmt: skip


def _perplexity(loss: float, rng: np.random.Generator) -> dict[str, Any]:
    easy = 2000 + 100 * np.sin(np.arange(WINDOWS))  # equal for all cells: the windows of one text
    nll = easy + 511 * loss + (rng.normal(0, 2, WINDOWS) if loss else 0.0)
    kl = 511 * loss * rng.uniform(0.5, 1.5, WINDOWS)
    quantiles = {str(share): loss * share * 4 for share in (0.5, 0.9, 0.95, 0.99, 0.999)}
    divergence = {
        "scored": [511] * WINDOWS,
        "kl": kl.tolist(),
        "agree": rng.integers(400, 500, WINDOWS).tolist() if loss else [511] * WINDOWS,
        "delta_p_squared": (kl / 30).tolist(),
        "kl_quantiles": quantiles,
        "kl_max": loss * 20,
    }
    return factory.perplexity(nll.tolist(), words=None, bytes=None, divergence=divergence, reasons={})


def _timed(batch: int, bits: float, rng: np.random.Generator) -> dict[str, Any]:
    prefill = (0.010 * batch * rng.uniform(1.0, 1.2, ROUNDS)).tolist()
    steps = (2e-4 * (bits + 4) * math.sqrt(batch) * rng.uniform(1.0, 1.3, (ROUNDS, STEPS))).tolist()
    return {
        "prompt_length": 128,
        "batch_size": batch,
        "generated_tokens": STEPS + 1,
        "prefill_s": prefill,
        "decode_s": steps,
        "lap": list(range(10, 10 + ROUNDS)),
        "place": list(range(ROUNDS)),
        "start_s": rng.uniform(0, 30, ROUNDS).tolist(),
        "since": "2026-11-21T10:56:44.773+00:00",
        "warmup": {"rounds": 10, "stable": True, "cv": 0.03, "round_s": rng.uniform(0.05, 0.06, 10).tolist()},
        "outside": {
            "layers": 42, "timer_s": 1.9e-07, "prefill_s": prefill[:2],
            "prefill_inside_s": [value / 2 for value in prefill[:2]],
            "decode_s": steps[:2], "decode_inside_s": [[value / 2 for value in row] for row in steps[:2]],
        },
        "work": {"decode_weight_bytes": 4048384, "decode_kv_bytes": 417792.0, "prefill_flop": 1260781568,
                 "arithmetic": "bf16"},
    }  # fmt: skip


def _layer(cell: Cell, number: int, bits: float, loss: float, rng: np.random.Generator) -> dict[str, Any]:
    block, kind = divmod(number, len(KINDS))
    return {
        "name": f"model.layers.{block}.{KINDS[kind]}",
        "shape": [256, 256],
        "code": "int",
        "num_bits": cell.params["num_bits"],
        "strategy": "group",
        "group_size": cell.params["group_size"],
        "activations": "none",
        "requested": "auto",
        "planned": [{"rows": "1..128", "kernel": "packed_native"}],
        "executed": [
            {"kernel": "packed_native", "min_rows": 1, "max_rows": 128, "calls": 612},
            {"kernel": "expand_gemm", "min_rows": 512, "max_rows": 512, "calls": 40},
        ],
        "fallback_reason": None,
        "bits_per_weight": bits,
        "bytes": {
            "codes": 24576, "scales": 2048, "zeros": 384, "permutation": 0, "input_scale": 0, "outliers": 0,
            "bias": 0, "prepared": 2224,
        },
        "kind": "Linear",
        "method": cell.method,
        "params": cell.params,
        "weight_error": math.sqrt(loss) * rng.uniform(0.9, 1.1),
        "calibration_tokens": 16384,
        "notes": {"damping": 0.01, "dead_columns": 0, "loss": rng.uniform(1, 3)},
    }  # fmt: skip
