"""What the kernels that `auto` chooses cost on one thread, beside a float32 product of torch in the same run.

`make bench-check` compares each ratio with the one that `baseline.json` holds for processors like this one:
which kernel runs, and how it fares beside float32, depends on the instructions that there are. How fast they
are in themselves is measured by `test_kernels.py` and `test_packed.py`. An ordinary test run walks through
each once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.nn.functional import linear

from qbench.quant.kernels.base.machine import features
from qbench.quant.layer.linear import QuantizedLinear
from tests.benchmarks.beside import note
from tests.quant.layers import activations, affine

SIZE = 1024
"""Of a side of the weight: 0.5 MB in 4 bits, which stays in a core's own cache, as does the reference's."""
KINDS: dict[str, dict[str, Any]] = {
    "int4 in groups": {"num_bits": 4, "strategy": "group", "group_size": 64},
    "int4 with zeros": {"num_bits": 4, "strategy": "group", "group_size": 64, "zero": "integer"},
    "int8": {"num_bits": 8},
    "int8 x int8": {"num_bits": 8, "activations": "dynamic"},
}
CALLS = {1: 200, 64: 10}
"""Rows → calls a round, some ten milliseconds."""
ROUNDS = 8


def processor() -> str:
    """What decides which kernels run and how wide: torch's capability, and the words of the kernel table."""
    words = sorted(features("cpu") - {"cuda", "triton"})
    return " ".join((torch.backends.cpu.get_cpu_capability(), *words))


def product() -> Callable[[], None]:
    """The reference: eight float32 products of torch, bound by arithmetic, some ten milliseconds."""
    x, weight = torch.randn(256, 512), torch.randn(512, 512)

    def multiply() -> None:
        for _ in range(8):
            linear(x, weight)

    return multiply


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("rows", CALLS)
@pytest.mark.parametrize("kind", KINDS)
def test_kernel(benchmark: Any, kind: str, rows: int) -> None:
    weight = affine(SIZE, SIZE, scale_dtype=torch.bfloat16, **KINDS[kind])
    layer = QuantizedLinear.from_weight(weight, dtype=torch.bfloat16)
    x = activations(rows, SIZE, torch.bfloat16)
    calls = 1 if benchmark.disabled else CALLS[rows]

    def call() -> None:
        for _ in range(calls):
            layer(x)

    with torch.inference_mode():
        call()
        note(benchmark, call, ROUNDS, per=calls, beside=product())
    benchmark.extra_info["processor"] = processor()
