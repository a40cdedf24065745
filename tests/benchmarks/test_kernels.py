"""The curve over rows: bf16, every int8 kernel of this machine, and the dispatcher, in one interleaved run.

N = K = 4096, bf16 activations; `curves.py` says how the samples are taken.

Targets (2 cores): weight-only int8 at least 2× bf16 at one row and 0.95× from 256 rows; dynamic int8 × int8
at least 1.3× at every row count; the dispatcher takes the fastest kernel. They are asserted where timing is
on (`make bench`); an ordinary test run walks through the same code once on a small layer.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from qbench.quant.formats.weight import Activations
from qbench.quant.kernels import choose
from qbench.quant.kernels.base.machine import features
from qbench.quant.layer.linear import QuantizedLinear
from tests.benchmarks.curves import curve, draw, missed
from tests.quant.layers import affine

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
TIE = 1.15
"""Two kernels this close count as equally fast: what two runners of one kernel differ by on a shared 2-core
machine. It settles which kernel is the fastest; no target is softened by it."""


def record(benchmark: Any, acts: Activations, title: str) -> dict[int, dict[str, float]] | None:
    """Measures, prints and stores the curve; returns the speedups, or None where timing is off."""
    timed = not benchmark.disabled
    size, copies = (4096, 4) if timed else (64, 2)
    rows = ROWS if timed else (1, 17)
    weights = [
        affine(size, size, activations=acts, seed=seed, scale_dtype=torch.bfloat16) for seed in range(copies)
    ]
    speedups, medians = benchmark.pedantic(curve, args=(weights, rows, timed), rounds=1, iterations=1)
    benchmark.extra_info["curve"] = {
        "rows": list(rows),
        "threads": torch.get_num_threads(),
        "features": sorted(features("cpu")),
        "median_s": {str(count): medians[count] for count in rows},
        "speedup": {str(count): speedups[count] for count in rows},
    }
    print("\n" + draw(rows, speedups, medians, title))
    return speedups if timed else None


def assert_fastest(speedups: dict[int, dict[str, float]], acts: Activations) -> None:
    """At every row count the kernel that the table chooses is as fast as the best one, up to a tie."""
    spec = QuantizedLinear.from_weight(affine(4096, 4096, activations=acts), dtype=torch.bfloat16).spec
    for count, row in speedups.items():
        chosen = choose(spec, count, "bf16", torch.device("cpu"), "it")[0].name
        best = max((value, name) for name, value in row.items() if name not in ("auto", "bf16"))
        assert max(row["auto"], row[chosen]) * TIE >= best[0], (
            f"{count} rows: {chosen}, but {best[1]} is faster"
        )


@pytest.mark.timeout(600)
def test_weight_only_int8_over_rows(benchmark: Any) -> None:
    speedups = record(benchmark, "none", "weight-only int8, N = K = 4096")
    if speedups is None:
        return
    assert_fastest(speedups, "none")
    if "bf16_gemm" not in features("cpu"):
        pytest.skip("no bf16 dot products on this CPU: bf16 is no measure here")
    least = {1: 2.0, **{count: 0.95 for count in ROWS if count >= 256}}
    assert missed(speedups, least, "weight-only int8") == []


@pytest.mark.timeout(600)
def test_dynamic_int8_over_rows(benchmark: Any) -> None:
    speedups = record(benchmark, "dynamic", "dynamic int8 × int8, N = K = 4096")
    if speedups is None:
        return
    assert_fastest(speedups, "dynamic")
    if "exact_int8" not in features("cpu"):
        pytest.skip("int8 products saturate on this CPU: no int8 kernel runs")
    assert missed(speedups, dict.fromkeys(ROWS, 1.3), "dynamic int8") == []
