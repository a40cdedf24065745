"""hqq beside the package of its authors: same codes without optimisation, no larger loss with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from qbench import AffineWeight, Layer
from qbench.quant.algorithms import hqq
from qbench.quant.method import registry
from tests.peers.codes import assert_same_codes, real_weights

theirs = pytest.importorskip("hqq.core.quantize", reason="package hqq is not installed; extra `peers`")
pytestmark = pytest.mark.peers

LAYER = Layer("block.proj", "Linear", 256, 48)
BITS = [8, 6, 5, 4, 3, 2]


def package(weight: Tensor, num_bits: int, axis: int, optimize: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, scale and zero of groups of 64, in its own shapes."""
    options: dict[str, Any] = {"nbits": num_bits, "group_size": 64, "axis": axis, "optimize": optimize}
    codes, meta = theirs.Quantizer.quantize(weight, device="cpu", bitpack=False, **options)
    return codes, meta["scale"], meta["zero"]


def losses(weight: Tensor, made: Tensor) -> dict[float, float]:
    """Mean |w − ŵ|^p for HQQ's own p and for 1, by which its package stops."""
    off = (weight.double() - made.double()).abs()
    return {p: float(off.pow(p).mean()) for p in (0.7, 1.0)}


def restored(codes: Tensor, scale: Tensor, zero: Tensor, shape: torch.Size) -> Tensor:
    return ((codes.double() - zero.double()) * scale.double()).reshape(shape)


@pytest.mark.parametrize("num_bits", BITS)
def test_without_optimisation_codes_scales_and_zeros_are_equal(num_bits: int) -> None:
    weight = real_weights()
    params = {"num_bits": num_bits, "strategy": "group", "zero": "float", "zero_in_range": False}
    ours: AffineWeight = registry.make("zeropoint", params).quantize_layer(weight, LAYER)
    codes, scale, zero = package(weight, num_bits, axis=1, optimize=False)
    exact = weight.double().view(-1, 64) / scale.double() + zero.double()
    assert_same_codes(ours.codes.view(-1, 64), codes, exact)
    torch.testing.assert_close(ours.scale.view(-1, 1), scale, rtol=1e-6, atol=0)
    assert ours.zero is not None
    torch.testing.assert_close(ours.zero.view(-1, 1), zero, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_bits", BITS)
@pytest.mark.parametrize("seed", range(3))
def test_with_optimisation_the_loss_is_no_larger(num_bits: int, seed: int) -> None:
    weight = real_weights(seed=seed)
    made = registry.make("hqq", {"num_bits": num_bits}).quantize_layer(weight, LAYER)
    ours = losses(weight, made.dequantize())
    found = losses(weight, restored(*package(weight, num_bits, axis=1, optimize=True), weight.shape))
    assert ours[1.0] <= found[1.0]
    assert ours[0.7] <= found[0.7]


@pytest.mark.parametrize("num_bits", [4, 3, 2])
def test_where_the_shrinkage_is_at_work_the_loss_is_no_larger(num_bits: int) -> None:
    # Weights a hundred times as large as a model's. The package's default solver never lets beta grow.
    weight = real_weights(size=1.0)
    made = registry.make("hqq", {"num_bits": num_bits, "kappa": 1.0}).quantize_layer(weight, LAYER)
    found = losses(weight, restored(*package(weight, num_bits, axis=1, optimize=True), weight.shape))
    ours = losses(weight, made.dequantize())
    assert ours[1.0] <= found[1.0]
    assert ours[0.7] <= found[0.7]


@pytest.mark.parametrize("num_bits", [4, 3])
def test_the_solver_along_the_other_axis_is_no_worse(num_bits: int) -> None:
    # The package's axis 0 puts rows r, r + N/64, r + 2·N/64 … of a column into one group.
    weight = real_weights(rows=128)
    groups = weight.view(64, 2, 256).permute(1, 2, 0)
    codes, scale, zero = hqq.quantize(groups, hqq.Solver(num_bits), torch.float32)
    made = (codes.double() - zero.double()[..., None]) * scale.double()[..., None]
    found = losses(weight, restored(*package(weight, num_bits, axis=0, optimize=True), weight.shape))
    ours = losses(weight, made.permute(2, 0, 1).reshape(weight.shape))
    assert ours[1.0] <= found[1.0]
    assert ours[0.7] <= found[0.7]
