"""The affine numerics against hand-computed cases, numpy, torch's own quantizer and exact bounds."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qbench import MethodError
from qbench.quant.formats import affine


def weights(dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    """Weights of 1..4 × 1..12 with magnitudes from 1e-6 to 1e3, zeros and one-sided rows among them."""
    numbers = st.one_of(
        st.just(0.0), st.floats(-1, 1), st.floats(-1e3, 1e3), st.floats(1e-6, 1e-4), st.just(5.0)
    )
    rows = st.integers(1, 12).flatmap(
        lambda k: st.lists(st.lists(numbers, min_size=k, max_size=k), min_size=1, max_size=4)
    )
    return rows.map(lambda values: torch.tensor(values, dtype=dtype))


def test_absmax_by_hand() -> None:
    # amax 1.27 over 127 steps: a step of .01; 0.004 rounds to 0, 0.006 to 1.
    groups = torch.tensor([[[1.27, -0.5, 0.004, 0.006]]])
    scale = affine.absmax_scale(groups, 8, "restricted")
    assert scale.item() == pytest.approx(0.01)
    assert affine.codes(groups, scale, 128.0, 1, 255).flatten().tolist() == [255, 78, 128, 129]


def test_full_range_by_hand() -> None:
    # 4 bits: s = 2·7.5/15 = 1; codes −8 … 7, so +7.5 rounds to 8 and is clipped to 7.
    groups = torch.tensor([[[7.5, -7.5, 3.2, -0.4]]])
    scale = affine.absmax_scale(groups, 4, "full")
    assert scale.item() == 1.0
    assert affine.codes(groups, scale, 8.0, 0, 15).flatten().tolist() == [15, 0, 11, 8]


def test_zero_point_by_hand() -> None:
    # −1 … 2 in 2 bits: s = 1, z = 1, every value a code.
    groups = torch.tensor([[[-1.0, 0.0, 1.0, 2.0]]])
    scale, low = affine.minmax_scale_zero(groups, 2, zero_in_range=True)
    zero = affine.integer_zero(scale, low, 2)
    assert (scale.item(), zero.item()) == (1.0, 1)
    assert affine.codes(groups, scale, zero, 0, 3).flatten().tolist() == [0, 1, 2, 3]


def test_raw_range_by_hand() -> None:
    # 5 … 8 in 2 bits, raw: s = 1 and the zero is −5; forced through zero it is s = 8/3 and zero 0.
    groups = torch.tensor([[[5.0, 6.0, 7.0, 8.0]]])
    scale, low = affine.minmax_scale_zero(groups, 2, zero_in_range=False)
    kept, zero = affine.float_zero(scale, low, torch.float32)
    assert (kept.item(), zero.item()) == (1.0, -5.0)
    assert affine.codes(groups, kept, zero, 0, 3).flatten().tolist() == [0, 1, 2, 3]
    forced, low = affine.minmax_scale_zero(groups, 2, zero_in_range=True)
    assert (forced.item(), low.item()) == (pytest.approx(8 / 3), 0.0)


@pytest.mark.parametrize("num_bits", range(2, 9))
def test_symmetric_codes_equal_numpy(num_bits: int) -> None:
    weight = np.random.default_rng(num_bits).normal(size=(7, 24)).astype(np.float32)
    steps = np.float32(2 ** (num_bits - 1) - 1)
    step = np.abs(weight).max(axis=1, keepdims=True) / steps
    expected = np.clip(np.rint(weight / step), -steps, steps)
    groups = affine.grouped(torch.from_numpy(weight), "channel", None, "w")
    scale = affine.absmax_scale(groups, num_bits, "restricted")
    middle = 2 ** (num_bits - 1)
    found = affine.codes(groups, scale, float(middle), 1, 2 * middle - 1).reshape(7, 24)
    np.testing.assert_array_equal(found.numpy().astype(int) - middle, expected)


def test_weights_equal_torch_fake_quantize_per_channel() -> None:
    weight = torch.randn(9, 40, generator=torch.Generator().manual_seed(0))
    groups = affine.grouped(weight, "channel", None, "w")
    scale, low = affine.minmax_scale_zero(groups, 8, zero_in_range=True)
    zero = affine.integer_zero(scale, low, 8)
    theirs = torch.fake_quantize_per_channel_affine(weight, scale[:, 0], zero[:, 0].int(), 0, 0, 255)
    ours = affine.AffineWeight(affine.codes(groups, scale, zero, 0, 255).reshape(9, 40), scale, zero, 8)
    # torch multiplies by 1/scale, which may tip a value that lies on a tie; no such value is in this weight.
    torch.testing.assert_close(ours.dequantize(), theirs, rtol=0, atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(weights(torch.float32), st.integers(2, 8))
def test_error_is_half_a_step_at_most(weight: Tensor, num_bits: int) -> None:
    groups = affine.grouped(weight, "channel", None, "w")
    scale = affine.stored_scale(affine.absmax_scale(groups, num_bits, "restricted"), torch.float32)
    middle = 2 ** (num_bits - 1)
    made = affine.AffineWeight(
        affine.codes(groups, scale, float(middle), 1, 2 * middle - 1).reshape(weight.shape),
        scale,
        None,
        num_bits,
    )
    off = (weight.double() - made.dequantize(torch.float64)).abs()
    subnormal = 2.0**num_bits * 2.0**-149  # there the scale itself is rounded by up to 2^-150, times the code
    bound = scale.double() / 2 + 1e-6 * weight.double().abs().amax(1, keepdim=True) + subnormal
    assert bool((off <= bound).all())


@settings(max_examples=150, deadline=None)
@given(weights(torch.float32), st.integers(2, 8))
def test_zero_in_range_holds_zero_exactly(weight: Tensor, num_bits: int) -> None:
    with_zero = torch.cat([weight, torch.zeros(len(weight), 1)], dim=1)
    groups = affine.grouped(with_zero, "channel", None, "w")
    scale, low = affine.minmax_scale_zero(groups, num_bits, zero_in_range=True)
    zero = affine.integer_zero(scale, low, num_bits)
    codes = affine.codes(groups, scale, zero, 0, 2**num_bits - 1).reshape(with_zero.shape)
    made = affine.AffineWeight(codes, scale, zero, num_bits).dequantize()
    assert bool((made[:, -1] == 0).all())
    subnormal = 2.0**num_bits * 2.0**-149  # there the scale itself is rounded by up to 2^-150, times the code
    bound = scale.double() / 2 + 1e-5 * with_zero.double().abs().amax(1, keepdim=True) + subnormal
    assert bool(((with_zero.double() - made.double()).abs() <= bound).all())


@settings(max_examples=150, deadline=None)
@given(
    weights(torch.float32), st.integers(2, 8), st.sampled_from([torch.float32, torch.bfloat16, torch.float16])
)
def test_raw_range_keeps_the_bound_of_its_dtype(weight: Tensor, num_bits: int, dtype: torch.dtype) -> None:
    weight = weight.to(dtype)
    groups = affine.grouped(weight, "channel", None, "w")
    exact, low = affine.minmax_scale_zero(groups, num_bits, zero_in_range=False)
    scale, zero = affine.float_zero(exact, low, dtype)
    codes = affine.codes(groups, scale, zero, 0, 2**num_bits - 1).reshape(weight.shape)
    made = affine.AffineWeight(codes, scale, zero, num_bits)
    assert made.why_invalid(weight.shape) is None
    # Half a step, and what the rounding of scale and zero to the stored dtype can move the range's ends by.
    span = groups.amax(-1) - groups.amin(-1)
    bound = scale.float() / 2 + 2 * torch.finfo(dtype).eps * (
        span + weight.float().abs().amax(1, keepdim=True)
    )
    assert bool(((weight.float() - made.dequantize()).abs() <= bound + 1e-30).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("amax", [1e-45, 1e-38, 6e-8, 1e-6, 1e-3, 1.0, 6e4, 3e38])
@pytest.mark.parametrize("num_bits", [2, 8])
def test_scales_never_underflow_or_overflow(dtype: torch.dtype, amax: float, num_bits: int) -> None:
    amax = min(amax, torch.finfo(dtype).max)
    weight = torch.tensor([[amax, -amax / 3, 0.0, amax / 7]]).to(dtype)
    groups = affine.grouped(weight, "channel", None, "w")
    scale = affine.stored_scale(affine.absmax_scale(groups, num_bits, "restricted"), dtype)
    middle = 2 ** (num_bits - 1)
    codes = affine.codes(groups, scale, float(middle), 1, 2 * middle - 1).reshape(weight.shape)
    made = affine.AffineWeight(codes, scale, None, num_bits)
    assert made.why_invalid(weight.shape) is None
    assert bool((scale > 0).all())
    # A code too many by rounding the scale up to the smallest normal number costs less than that number.
    off = (weight.double() - made.dequantize(torch.float64)).abs().max().item()
    assert off <= scale.double().item() * 0.76
    wide, low = affine.minmax_scale_zero(groups, num_bits, zero_in_range=True)
    assert bool(affine.stored_scale(wide, dtype).isfinite().all())
    assert bool(low.isfinite().all())


def test_fp16_subnormal_scale_does_not_clip() -> None:
    # amax 1.1e-5 over 127 is 1.45 quanta of fp16: nearest is 1 quantum and would clip 185 steps to 127.
    weight = torch.tensor([[1.1e-5, -0.5e-5]], dtype=torch.float16)
    scale = affine.stored_scale(affine.absmax_scale(weight.float()[:, None], 8, "restricted"), torch.float16)
    assert weight.double().abs().max() / scale.double() <= 127
    assert scale.item() == 2 * 2.0**-24  # two quanta


def test_a_float_zero_beyond_fp16_raises_the_scale() -> None:
    weight = torch.tensor([[1000.0, 1000.5]], dtype=torch.float16)
    exact, low = affine.minmax_scale_zero(weight.float()[:, None], 8, zero_in_range=False)
    assert (low / exact).abs().item() > torch.finfo(torch.float16).max
    scale, zero = affine.float_zero(exact, low, torch.float16)
    codes = affine.codes(weight.float()[:, None], scale, zero, 0, 255).reshape(1, 2)
    made = affine.AffineWeight(codes, scale, zero, 8).dequantize()
    assert (made - weight.float()).abs().max() <= 1000 * torch.finfo(torch.float16).eps


def test_a_group_must_divide_the_row() -> None:
    with pytest.raises(
        MethodError, match=r"down_proj: group_size 128 does not divide .* 576 .*use 64 or 32 or 16"
    ):
        affine.grouped(torch.zeros(4, 576), "group", 128, "down_proj")
    assert affine.grouped(torch.zeros(4, 576), "group", 64, "w").shape == (4, 9, 64)
    assert affine.grouped(torch.zeros(4, 6), "tensor", None, "w").shape == (1, 1, 24)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"codes": torch.zeros(2, 4, dtype=torch.int8)}, "codes are torch.int8"),
        ({"codes": torch.zeros(2, 3, dtype=torch.uint8)}, r"\(2, 3\)"),
        ({"codes": torch.full((2, 4), 16, dtype=torch.uint8)}, "beyond 4 bits"),
        ({"scale": torch.ones(2, 2)}, "scale is"),
        ({"scale": torch.ones(3, 1)}, "scale is"),
        ({"scale": torch.ones(2)}, "scale is"),
        ({"scale": torch.tensor([[1.0], [torch.inf]])}, "inf or nan"),
        ({"zero": torch.zeros(1, 1)}, "zero is"),
        ({"zero": torch.full((2, 1), 16, dtype=torch.uint8)}, "not a code of 4 bits"),
        ({"zero": torch.full((2, 1), torch.nan)}, "zero holds"),
        ({"group_size": 2}, r"not \(2, 2\)"),
        ({"group_size": 3}, "scale is"),
    ],
)
def test_a_broken_weight_is_named(change: dict[str, object], said: str) -> None:
    good: dict[str, object] = {
        "codes": torch.zeros(2, 4, dtype=torch.uint8),
        "scale": torch.ones(2, 1),
        "zero": torch.zeros(2, 1, dtype=torch.uint8),
        "num_bits": 4,
    }
    assert affine.AffineWeight(**good).why_invalid(torch.Size((2, 4))) is None  # type: ignore[arg-type]
    found = affine.AffineWeight(**{**good, **change}).why_invalid(torch.Size((2, 4)))  # type: ignore[arg-type]
    assert found is not None
    assert re.search(said, found)
