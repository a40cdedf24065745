"""hqq beside the package of its authors, on the same CPU, threads and tensors, in turns.

4096 × 4096 weights of a model's size (0.02) in groups of 64. Targets: at least five times as fast, at no
larger loss (mean |w − ŵ|). Also printed, without a target of speed: weights of size 1, where the shrinkage is
at work and the power |e|^(p−1) is really taken. An ordinary test run does the same once on a small weight.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import pytest
import torch
from torch import Tensor

from qbench.quant.algorithms import hqq

theirs = pytest.importorskip("hqq.core.quantize", reason="package hqq is not installed; extra `peers`")

TARGET = 5.0
GROUP = 64


def ours_of(weight: Tensor, num_bits: int) -> Tensor:
    groups = weight.view(len(weight), -1, GROUP)
    codes, scale, zero = hqq.quantize(groups, hqq.Solver(num_bits), torch.float32)
    return ((codes.float() - zero[..., None]) * scale[..., None]).view_as(weight)


def theirs_of(weight: Tensor, num_bits: int) -> Tensor:
    codes, meta = theirs.Quantizer.quantize(
        weight, nbits=num_bits, group_size=GROUP, axis=1, device="cpu", bitpack=False
    )
    return ((codes - meta["zero"]) * meta["scale"]).view_as(weight)  # type: ignore[no-any-return]


def measure(side: int, turns: int, size: float, num_bits: int) -> dict[str, dict[str, float]]:
    weight = torch.randn(side, side, generator=torch.Generator().manual_seed(0)) * size
    found: dict[str, dict[str, float]] = {}
    times: dict[str, list[float]] = {"qbench": [], "hqq": []}
    for _ in range(turns):
        for name, run in (("qbench", ours_of), ("hqq", theirs_of)):
            start = time.perf_counter()
            made = run(weight, num_bits)
            times[name].append(time.perf_counter() - start)
            found[name] = {"loss": float((weight - made).abs().mean())}
    for name, taken in times.items():
        found[name]["median_s"] = statistics.median(taken)
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("size", [0.02, 1.0])
@pytest.mark.parametrize("num_bits", [4, 3])
def test_hqq_beside_its_package(benchmark: Any, num_bits: int, size: float) -> None:
    timed = not benchmark.disabled
    arguments = (4096, 3, size, num_bits) if timed else (128, 1, size, num_bits)
    found = benchmark.pedantic(measure, args=arguments, rounds=1, iterations=1)
    ours, package = found["qbench"], found["hqq"]
    ratio = package["median_s"] / ours["median_s"]
    benchmark.extra_info["found"] = {**found, "speedup": ratio, "threads": torch.get_num_threads()}
    print(
        f"\n{num_bits} bits, size {size}: hqq {package['median_s']:.2f} s, qbench {ours['median_s']:.2f} s, "
        f"{ratio:.1f}x; loss {package['loss']:.6g} and {ours['loss']:.6g}"
    )
    assert ours["loss"] <= package["loss"]
    if timed and size < 1:
        assert ratio >= TARGET, f"{ratio:.1f}x of {TARGET}x"
