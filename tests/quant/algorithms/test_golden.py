"""Golden tensors: what every method makes of one small weight, kept in `golden.json`.

The weight comes from integer arithmetic, so that it is the same bits everywhere. Codes of round-to-nearest
methods must be the stored ones to the bit. Solvers sum floats in an order that machines choose: theirs may
differ in a few codes, and their error is held to a part in ten thousand. A changed file is a changed method:
to make it anew, run `python -m tests.quant.algorithms.test_golden` and say in the commit why it moved.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from qbench import Layer
from qbench.quant.method import registry
from qbench.quant.method.inputs import Inputs

FILE = Path(__file__).with_name("golden.json")
ROWS, COLUMNS, TOKENS = 12, 64, 256
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "absmax 8 channel": ("absmax", {}),
    "absmax 4 group full": (
        "absmax",
        {"num_bits": 4, "strategy": "group", "group_size": 32, "scale_range": "full"},
    ),
    "zeropoint 3 group": ("zeropoint", {"num_bits": 3, "strategy": "group", "group_size": 32}),
    "zeropoint 4 raw float": ("zeropoint", {"num_bits": 4, "zero": "float", "zero_in_range": False}),
    "zeropoint 4 percentile": ("zeropoint", {"num_bits": 4, "range": "percentile", "percentile": 97.0}),
    "int4 group": ("int4", {"group_size": 32}),
    "int4 mse": ("int4", {"group_size": 32, "range": "mse"}),
    "fp8 e4m3": ("fp8", {}),
    "fp8 e5m2 tensor": ("fp8", {"format": "e5m2", "strategy": "tensor"}),
    "llm_int8": ("llm_int8", {}),
    "hqq 3": ("hqq", {"num_bits": 3, "group_size": 32}),
    "gptq 3": ("gptq", {"num_bits": 3, "group_size": 32}),
    "gptq 4 in turn": ("gptq", {"group_size": 32, "static_groups": False, "symmetric": True}),
}
SOLVED = ("hqq 3", "gptq 3", "gptq 4 in turn")
"""By sums of floats: a few codes may fall the other way on another machine."""


def drawn(count: int, seed: int) -> Tensor:
    """`count` numbers, roughly normal, by a linear congruential generator: exact in float32 everywhere."""
    state, values = seed, []
    for _ in range(count):
        total = 0
        for _ in range(6):
            state = (1664525 * state + 1013904223) % 2**32
            total += (state >> 20) - 2048
        values.append(total / 8192)
    return torch.tensor(values)


def made(name: str, params: dict[str, Any]) -> dict[str, Any]:
    weight = drawn(ROWS * COLUMNS, 1).view(ROWS, COLUMNS) / 16
    x = drawn(TOKENS * COLUMNS, 2).view(TOKENS, COLUMNS)
    x[:, 5] *= 16  # an outlier column
    method = registry.make(name, params)
    inputs = Inputs(COLUMNS, method.statistics, "cpu")
    inputs.add(x)
    packed = method.quantize_layer(weight, Layer("golden", "Linear", COLUMNS, ROWS, inputs))
    off = (packed.dequantize() - weight).double()
    return {
        "codes": [bytes(row).hex() for row in packed.codes.view(torch.uint8).numpy()],
        "scale": packed.scale.double().flatten().tolist(),
        "error": float((x.double() @ off.t()).pow(2).mean()),
    }


@pytest.mark.parametrize("case", CASES)
def test_codes_are_the_ones_that_were_kept(case: str) -> None:
    kept = json.loads(FILE.read_text())[case]
    now = made(*CASES[case])
    pairs = zip(bytes.fromhex("".join(now["codes"])), bytes.fromhex("".join(kept["codes"])), strict=True)
    differing = sum(one != other for one, other in pairs)
    assert differing <= (ROWS * COLUMNS // 100 if case in SOLVED else 0)
    assert now["scale"] == pytest.approx(kept["scale"], rel=1e-6)
    assert now["error"] == pytest.approx(kept["error"], rel=1e-2 if differing else 1e-4)


if __name__ == "__main__":
    FILE.write_text(json.dumps({case: made(*CASES[case]) for case in CASES}, indent=1) + "\n")
