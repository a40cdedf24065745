"""`int4_tinygemm` without a GPU: torch's CPU kernel of the same arithmetic stands in for the CUDA one.

It takes the same scales and offsets and has a layout of its own, so what is tried here is all that is ours:
the order of the pairs, scales, offsets and groups, and the way back. The CUDA layout is left to `test_cuda`.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from qbench.quant.formats.affine import AffineWeight
from qbench.quant.kernels import Kernel, kernel
from qbench.quant.kernels.cuda import int4_tinygemm as tinygemm
from qbench.quant.layer.linear import QuantizedLinear
from tests.quant.layers import activations, affine

CUDA = torch.device("cuda")
BF16 = torch.bfloat16


@pytest.fixture(autouse=True)
def cpu_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(pairs: Tensor, tiles: int) -> Tensor:
        codes = torch.stack((pairs >> 4, pairs & 15), dim=2).flatten(1).to(torch.int32)
        return torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, tiles)

    monkeypatch.setattr(tinygemm, "_convert", convert)
    monkeypatch.setattr(tinygemm, "_multiply", torch.ops.aten._weight_int4pack_mm_for_cpu)


def layer_of(weight: AffineWeight, bias: Tensor | None = None) -> QuantizedLinear:
    return QuantizedLinear.from_weight(weight, bias, dtype=BF16)


@pytest.mark.parametrize("zero", ["none", "integer", "float"])
@pytest.mark.parametrize(
    ("strategy", "group", "k"),
    [("group", 32, 96), ("group", 64, 192), ("group", 128, 512), ("channel", 0, 320), ("tensor", 0, 256)],
)
def test_products_and_codes_that_come_back(strategy: Any, group: int, k: int, zero: Any) -> None:
    n = 32
    weight = affine(n, k, num_bits=4, strategy=strategy, zero=zero, scale_dtype=BF16, group_size=group or 32)
    layer = layer_of(weight, torch.linspace(-3, 3, n).to(BF16))
    prepared = tinygemm.prepare_tinygemm(layer)
    x = activations(5, k, BF16)
    got = tinygemm.run_tinygemm(layer, prepared, x)
    w = weight.dequantize().double()
    expected = x.double() @ w.t() + torch.linspace(-3, 3, n).to(BF16).double()
    size = x.double().abs() @ w.abs().t()
    # Weights and the output are rounded to bf16; so is the offset, by 2⁻⁸ of itself, whatever the weight.
    zeros = torch.full((1, 1), 8.0) if weight.zero is None else weight.zero
    offsets = ((8 - zeros.double()).abs() * weight.scale.double()).expand(n, -1)
    shifted = x.double().abs() @ offsets.repeat_interleave(k // offsets.shape[1], 1).t()
    allowed = 2.0**-8 * (size + shifted + 2 * expected.abs() + 3)
    assert bool(((got.double() - expected).abs() <= allowed).all())
    assert torch.equal(tinygemm.restore_tinygemm(layer, prepared), layer.stored_codes())


def test_a_symmetric_weight_has_no_offset_and_its_own_scales() -> None:
    weight = affine(16, 128, num_bits=4, strategy="group", scale_dtype=BF16)
    made = tinygemm.scales_and_offsets(layer_of(weight))
    assert torch.equal(made[..., 0], weight.scale.t())
    assert not made[..., 1].any()


def test_a_scale_a_row_is_shared_by_the_largest_groups_that_fit() -> None:
    layer = layer_of(affine(16, 320, num_bits=4, scale_dtype=BF16))
    assert tinygemm.group_size(layer.spec) == 64
    made = tinygemm.scales_and_offsets(layer)
    assert made.shape == (5, 16, 2)
    assert all(torch.equal(group[:, 0], layer.scale[:, 0]) for group in made)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"strategy": "group", "group_size": 16}, "group_size is 16, it takes 256, 128, 64, 32"),
        ({"scale_dtype": torch.float32}, "scale dtype is fp32, it takes bf16"),
        ({"num_bits": 3}, "num_bits is 3"),
        ({"k": 48}, "in_features 48 is no multiple of 32"),
        ({"n": 12}, "out_features 12 is no multiple of 8"),
        ({}, None),
    ],
)
def test_its_conditions(case: dict[str, Any], said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[Kernel.__module__]  # the package has a function of the same name
    monkeypatch.setattr(module, "features", lambda device: frozenset({"cuda"}))
    monkeypatch.setattr(module, "cuda_capability", lambda index: (8, 0))
    given = {"n": 16, "k": 64, "num_bits": 4, "scale_dtype": BF16, **case}
    spec = layer_of(affine(given.pop("n"), given.pop("k"), **given)).spec
    found = kernel("int4_tinygemm").why_not(spec, "bf16", CUDA)
    assert found is None if said is None else said in str(found)
