"""Medians, intervals, ratios and shares of the ceilings from the samples of `qbench bench-kernels`."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from qbench.json_object import JsonObject
from qbench.results.stats.medians import median_interval, ratio_interval

FLOAT = "F.linear"


def kernel_rows(found: Mapping[str, Any]) -> list[JsonObject]:
    """A row for each case, in its order. `speedup` is F.linear's median over this one's, on the same shape
    and rows; ends are None for too few turns, shares None without a ceiling."""
    floats = {
        (*case["shape"], case["rows"]): case["samples"] for case in found["cases"] if case["method"] == FLOAT
    }
    return [
        _row(case, floats[*case["shape"], case["rows"]], found["ceilings"], found["last_cache_bytes"])
        for case in found["cases"]
    ]


def _row(
    case: Mapping[str, Any], floats: list[float], ceilings: Mapping[str, Any], cache_bytes: int
) -> JsonObject:
    n, k = case["shape"]
    seconds = median(case["samples"])
    low, high = median_interval(case["samples"]) or (None, None)
    ratio_low, ratio_high = ratio_interval(floats, case["samples"]) or (None, None)
    read = ceilings.get("read_bytes_per_s")
    rate = (ceilings.get("gemm_flop_per_s") or {}).get(case["arithmetic"])
    return {
        "shape": f"{n}×{k}", "rows": case["rows"], "method": case["method"],
        "kernel": case["kernel"] if case["kernel"] == case["ran"] else f"{case['kernel']}: {case['ran']}",
        "median_s": seconds, "low_s": low, "high_s": high, "speedup": median(floats) / seconds,
        "speedup_low": ratio_low, "speedup_high": ratio_high,
        "bandwidth_share": case["weight_bytes"] / seconds / read if read else None,
        "flops_share": 2 * n * k * case["rows"] / seconds / rate if rate else None,
        "cached": case["rotated_bytes"] < cache_bytes,
    }  # fmt: skip
