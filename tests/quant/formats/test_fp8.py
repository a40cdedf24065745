"""8-bit floats: codes against the formats' definition, bounds and blocks."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qbench import Layer, MethodError
from qbench.quant.formats import fp8
from qbench.quant.formats.fp8 import FORMATS, LARGEST, Fp8Weight
from qbench.quant.kernels.portable.fp8_dequant_gemm import widen
from qbench.quant.method import registry
from qbench.quant.method.inputs import Inputs
from tests.quant.layers import activations

FRACTION = {"e4m3": 3, "e5m2": 2}
BIAS = {"e4m3": 7, "e5m2": 15}


def values_of(fmt: str) -> list[float]:
    """What each of the 256 codes stands for, by the formats' definition (arXiv 2209.05433, table 1)."""
    found = []
    for code in range(256):
        sign = -1.0 if code & 0x80 else 1.0
        exponent, fraction = (code & 0x7F) >> FRACTION[fmt], code & (2 ** FRACTION[fmt] - 1)
        step = 2.0 ** -FRACTION[fmt]
        value = (1 + fraction * step) * 2.0 ** (exponent - BIAS[fmt])
        if exponent == 0:
            value = fraction * step * 2.0 ** (1 - BIAS[fmt])
        if fmt == "e4m3" and code & 0x7F == 0x7F:
            value = math.nan
        if fmt == "e5m2" and exponent == 31:
            value = math.nan if fraction else math.inf
        found.append(sign * value)
    return found


def finite_codes(fmt: str) -> Tensor:
    keep = [code for code, value in enumerate(values_of(fmt)) if math.isfinite(value)]
    return torch.tensor(keep, dtype=torch.uint8).view(FORMATS[fmt])


def weight(n: int, k: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(n, k, generator=generator) * torch.rand(n, 1, generator=generator) * 0.1).to(dtype)


def layer_seen(x: Tensor) -> Layer:
    seen = Inputs(x.shape[-1], ("range",), "cpu")
    seen.add(x)
    return Layer("block.proj", "Linear", x.shape[-1], 1, seen)


def quantize(w: Tensor, **params: Any) -> Fp8Weight:
    k = w.shape[1]
    made = registry.make("fp8", params).quantize_layer(w, layer_seen(activations(30, k, torch.float32) / 2))
    assert isinstance(made, Fp8Weight)
    assert made.why_invalid(w.shape) is None
    return made


@pytest.mark.parametrize("fmt", FORMATS)
def test_torch_and_both_decoders_agree_on_all_256_codes(fmt: str) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(FORMATS[fmt])
    expected = torch.tensor(values_of(fmt))
    assert torch.equal(every.float().nan_to_num(1e9), expected.nan_to_num(1e9))
    kept = finite_codes(fmt)[None]
    for dtype in (torch.bfloat16, torch.float32):
        tile = torch.empty(kept.shape, dtype=dtype)
        widen(kept, tile)
        assert torch.equal(tile.double(), kept.double())
        assert torch.equal(tile.signbit(), kept.float().signbit())


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("power", [-60, -9, 0, 1, 17, 60])
def test_what_the_format_holds_comes_back_exactly(fmt: str, power: int) -> None:
    w = finite_codes(fmt).float()[None] * 2.0**power  # largest: 448 or 57344 times 2^power
    for strategy in ("tensor", "channel"):
        made = quantize(w, format=fmt, strategy=strategy)
        assert float(made.scale) == 2.0**power
        assert torch.equal(made.dequantize(), w)


@pytest.mark.parametrize("fmt", FORMATS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-6, 1e6))
def test_the_bound_on_normals_and_subnormals(fmt: str, seed: int, size: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Magnitudes over 18 powers of two, so that E4M3 reaches its subnormals.
    w = torch.randn(4, 40, generator=generator) * torch.exp2(-18 * torch.rand(4, 40, generator=generator))
    w *= size
    made = quantize(w, format=fmt)
    off = (made.dequantize().double() - w.double()).abs()
    smallest_normal = 2.0 ** (1 - BIAS[fmt]) * made.scale.double()
    normal = w.double().abs() >= smallest_normal
    assert bool((off <= 2.0 ** -(FRACTION[fmt] + 1) * (1 + 1e-6) * w.double().abs())[normal].all())
    half_step = smallest_normal * 2.0 ** -(FRACTION[fmt] + 1)
    assert bool((off <= half_step * (1 + 1e-6))[~normal].all())


@pytest.mark.parametrize("fmt", FORMATS)
def test_codes_are_the_nearest_by_exhaustion(fmt: str) -> None:
    w = weight(6, 50)
    made = quantize(w, format=fmt)
    exact = w.double() / made.scale.double()
    table = finite_codes(fmt).double()
    nearest = (exact[..., None] - table).abs().amin(-1)
    assert torch.allclose((exact - made.codes.double()).abs(), nearest, rtol=0, atol=1e-4)
    inside = exact.abs() < LARGEST[fmt]
    assert torch.equal(made.codes.float()[inside], exact.float().to(FORMATS[fmt]).float()[inside])


@pytest.mark.parametrize("fmt", FORMATS)
def test_beyond_the_largest_saturates_where_a_cast_alone_might_not(fmt: str) -> None:
    values = torch.tensor([1.0, 1.0001, 1.05, 1.3, 1e4, math.inf]) * LARGEST[fmt]
    assert torch.equal(fp8.cast(values, fmt).float(), torch.full((6,), LARGEST[fmt]))  # type: ignore[arg-type]
    assert torch.equal(fp8.cast(-values, fmt).float(), torch.full((6,), -LARGEST[fmt]))  # type: ignore[arg-type]
    assert bool(fp8.cast(torch.tensor([math.nan]), fmt).float().isnan().all())  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (127, 129), (128, 128), (257, 100), (300, 384)])
def test_blocks_and_their_edges(shape: tuple[int, int]) -> None:
    w = weight(*shape)
    made = quantize(w, strategy="block")
    n, k = shape
    assert made.scale.shape == (-(-n // 128), -(-k // 128))
    for i in range(made.scale.shape[0]):
        for j in range(made.scale.shape[1]):
            part = (slice(128 * i, 128 * (i + 1)), slice(128 * j, 128 * (j + 1)))
            assert float(made.scale[i, j]) == pytest.approx(float(w[part].abs().max()) / 448, rel=1e-6)
            scaled = made.codes[part].float() * made.scale[i, j]
            assert torch.equal(made.dequantize()[part], scaled)
            assert torch.equal(made.codes[part].float().abs().max(), torch.tensor(448.0))


def test_slices_of_a_large_weight_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    w = weight(700, 130)
    whole = {strategy: quantize(w, strategy=strategy) for strategy in ("tensor", "channel", "block")}
    monkeypatch.setattr(fp8, "SLICE_WEIGHTS", 1)
    for strategy, made in whole.items():
        assert torch.equal(quantize(w, strategy=strategy).codes, made.codes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_zero_tiny_and_huge_rows(dtype: torch.dtype) -> None:
    w = weight(5, 64, dtype)
    w[1], w[2, 0], w[3] = 0, torch.finfo(dtype).max, torch.finfo(dtype).tiny
    for strategy in ("tensor", "channel", "block"):
        made = quantize(w, strategy=strategy)
        assert bool(made.dequantize()[1].eq(0).all())
        assert bool(made.dequantize().isfinite().all())
    assert torch.equal(quantize(w).dequantize()[3], w[3].float())


def test_a_weight_with_nan_is_no_fp8_weight() -> None:
    w = weight(4, 32)
    w[2, 3] = math.nan
    made = registry.make("fp8", {}).quantize_layer(w, Layer("a", "Linear", 32, 4))
    assert "inf or nan" in str(made.why_invalid(w.shape))


@pytest.mark.parametrize("strategy", ["tensor", "channel", "block"])
def test_what_contradicts_the_format_is_named(strategy: str) -> None:
    made = quantize(weight(40, 64), strategy=strategy)
    shape = made.codes.shape
    for change, said in (
        ({"codes": made.codes.float()}, "not float8"),
        ({"scale": made.scale.double()}, "not float32"),
        ({"scale": torch.ones(7, 1)}, "scale is"),
        ({"scale": made.scale * math.inf}, "scale holds inf"),
        ({"input_scale": torch.ones(1, 1)}, "no input_scale"),
    ):
        assert said in str(dataclasses.replace(made, **change).why_invalid(shape))  # type: ignore[arg-type]
    assert dataclasses.replace(made, codes=torch.zeros_like(made.codes)).collapsed()
    assert not made.collapsed()


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(MethodError, match="format = 'e3m4'"):
        registry.make("fp8", {"format": "e3m4"})
    with pytest.raises(MethodError, match="tensor, channel or block, not group"):
        fp8.absmax_scale(weight(4, 8), "group", 448.0, "a.b")
