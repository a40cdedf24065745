"""The int8 pack kernel crashes on memory off a vector's boundary (torch 2.13): such operands are copied."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from qbench.quant.kernels.shared.codes import ALIGNMENT_BYTES, aligned

CRASH = """
import torch
from qbench.quant.formats.affine import AffineWeight
from qbench.quant.layer.linear import QuantizedLinear
torch.manual_seed(0)
n = k = 256
codes = torch.randint(1, 256, (n, k), dtype=torch.uint8)
made = AffineWeight(codes, torch.full((n, 1), 0.01, dtype=torch.bfloat16), None, 8)
layer = QuantizedLinear.from_weight(made, None, dtype=torch.bfloat16)
for offset in (1, 8, 16, 32):
    state = dict(layer.state_dict())
    start = offset
    place = torch.empty(n * k + 128, dtype=torch.int8)[start : start + n * k].view(n, k)
    place.copy_(state["codes"])
    state["codes"] = place
    layer.load_state_dict(state, assign=True)
    for rows in (1, 4, 12):
        x = torch.randn(rows * k + 16).to(torch.bfloat16)[offset % 16 : offset % 16 + rows * k].view(rows, k)
        wanted = x.double() @ layer.dequantize().double().t()
        assert torch.allclose(layer(x).double(), wanted, rtol=2e-2, atol=2e-2), (offset, rows)
"""


@pytest.mark.parametrize("offset", [0, 1, 8, 32])
def test_only_what_is_off_the_boundary_is_copied(offset: int) -> None:
    whole = torch.arange(256, dtype=torch.uint8)
    assert whole.data_ptr() % ALIGNMENT_BYTES == 0
    part = whole[offset:]
    got = aligned(part)
    assert torch.equal(got, part)
    assert got.data_ptr() % ALIGNMENT_BYTES == 0
    assert (got.data_ptr() == part.data_ptr()) == (offset == 0)


def test_a_layer_on_oddly_placed_memory_gives_the_right_product() -> None:
    done = subprocess.run([sys.executable, "-c", CRASH], capture_output=True, text=True)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}"
