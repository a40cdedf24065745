"""Ranges against numpy's percentile, GPTQ's search written out in float64, and what a range promises."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qbench.quant.algorithms import ranges
from qbench.quant.formats import affine
from qbench.quant.formats.affine import AffineWeight


def heavy(rows: int, columns: int, seed: int = 0) -> Tensor:
    """Student's t with 3 degrees of freedom: outliers, as real weights have."""
    return torch.from_numpy(np.random.default_rng(seed).standard_t(3, (rows, columns)) * 0.02).float()


@pytest.fixture(params=[ranges.SLICE, 50], ids=["whole", "sliced"])
def slices(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "SLICE", request.param)


@pytest.mark.usefixtures("slices")
@pytest.mark.parametrize("percentile", [50.5, 90.0, 99.0, 99.9])
@pytest.mark.parametrize(("strategy", "size"), [("tensor", None), ("channel", None), ("group", 32)])
def test_percentiles_equal_numpy(strategy: affine.Strategy, size: int | None, percentile: float) -> None:
    groups = affine.grouped(heavy(13, 192), strategy, size, "w")
    exact = groups.double().numpy()
    for view, reference in (
        (torch.abs, np.percentile(np.abs(exact), percentile, axis=-1)),
        (torch.clone, np.percentile(exact, percentile, axis=-1)),
        (torch.neg, -np.percentile(exact, 100 - percentile, axis=-1)),
    ):
        found = ranges.upper_percentile(groups, percentile, view)
        np.testing.assert_allclose(found.numpy(), reference, rtol=2e-6, atol=1e-9)


def test_percentile_of_more_weights_than_torch_quantile_takes() -> None:
    weight = torch.randn(2**12 + 1, 2**12, generator=torch.Generator().manual_seed(0))
    with pytest.raises(RuntimeError, match="too large"):
        weight.view(-1).quantile(0.999)
    found = ranges.upper_percentile(weight.view(1, 1, -1), 99.9, torch.abs)
    assert found.item() == pytest.approx(np.percentile(weight.abs().numpy(), 99.9), rel=1e-6)


def test_scale_and_zero_by_hand() -> None:
    # 101 weights 0, .01 … 1 and P = 90: the range is .9 for |w|, and .1 … .9 for both ends.
    groups = torch.linspace(0, 1, 101).view(1, 1, -1)
    rule = (torch.float32, "percentile", 90.0)
    assert ranges.symmetric(groups, 8, "restricted", *rule).item() == pytest.approx(0.9 / 127)
    scale, zero = ranges.asymmetric(groups, 4, "float", *rule, zero_in_range=False)
    assert scale.item() == pytest.approx(0.8 / 15)
    assert zero.item() == pytest.approx(-0.1 / (0.8 / 15), rel=1e-5)
    scale, zero = ranges.asymmetric(groups, 4, "integer", *rule)
    assert (scale.item(), zero.item()) == (pytest.approx(0.9 / 15), 0)


def error(groups: np.ndarray, scale: np.ndarray, zero: np.ndarray | float, low: int, high: int) -> np.ndarray:
    """Σ|w − ŵ|^2.4 of each group in float64; a last dimension of 1 in scale and zero."""
    codes = np.clip(np.rint(groups / scale + zero), low, high)
    return (np.abs((codes - zero) * scale - groups) ** 2.4).sum(-1)


def least(groups: np.ndarray, num_bits: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Least error of each group and its scale, by trying every p of the grid in float64."""
    top = 2**num_bits - 1
    low, high = groups.min(-1, keepdims=True), groups.max(-1, keepdims=True)
    amax = np.maximum(-low, high)
    if kind != "raw":
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    middle = (low + high) / 2 if kind == "raw" else 0
    errors, scales = [], []
    for step in range(80):
        p = 1 - step / 100
        if kind in ("restricted", "full"):
            scale = p * amax / ((2 ** (num_bits - 1) - 1) if kind == "restricted" else top / 2)
            zero, lowest = float(2 ** (num_bits - 1)), 1 if kind == "restricted" else 0
        else:
            start, end = middle + p * (low - middle), middle + p * (high - middle)
            scale, lowest = (end - start) / top, 0
            zero = np.rint(-start / scale) if kind == "integer" else -start / scale
        errors.append(error(groups, scale, zero, lowest, top))
        scales.append(scale[..., 0])
    best = np.argmin(errors, axis=0)
    return np.min(errors, axis=0), np.take_along_axis(np.array(scales), best[None], 0)[0]


def searched(groups: Tensor, num_bits: int, kind: str, choice: ranges.Range, dtype: torch.dtype) -> tuple:
    """(scale, zero, lowest code) of a kind in `least`'s words."""
    if kind == "restricted" or kind == "full":
        scale = ranges.symmetric(groups, num_bits, kind, dtype, choice)
        return scale, torch.full_like(scale, 2 ** (num_bits - 1)), 1 if kind == "restricted" else 0
    zero = "integer" if kind == "integer" else "float"
    made = ranges.asymmetric(groups, num_bits, zero, dtype, choice, None, kind != "raw")
    return *made, 0


KINDS = ["restricted", "full", "integer", "raw"]


@pytest.mark.usefixtures("slices")
@pytest.mark.parametrize(("kind", "num_bits"), list(product(KINDS, [2, 4, 8])))
def test_the_search_equals_brute_force(kind: str, num_bits: int) -> None:
    groups = affine.grouped(heavy(12, 128), "group", 64, "w")
    scale, zero, lowest = searched(groups, num_bits, kind, "mse", torch.float32)
    exact = groups.double().numpy()
    found = error(
        exact, scale.double().numpy()[..., None], zero.double().numpy()[..., None], lowest, 2**num_bits - 1
    )
    expected, scales = least(exact, num_bits, kind)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(scale.numpy(), scales, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("kind", "num_bits"), list(product(KINDS, [2, 3, 4, 8])))
def test_the_search_is_never_worse_than_the_whole_range(kind: str, num_bits: int, dtype: torch.dtype) -> None:
    # In each group, as stored: the unshrunk range is a candidate.
    groups = affine.grouped(heavy(24, 128).to(dtype), "group", 32, "w")
    errors = {}
    for choice in ("minmax", "mse"):
        scale, zero, lowest = searched(groups, num_bits, kind, choice, dtype)
        parts = (scale.double().numpy()[..., None], zero.double().numpy()[..., None])
        errors[choice] = error(groups.double().numpy(), *parts, lowest, 2**num_bits - 1)
    assert (errors["mse"] <= errors["minmax"] * (1 + 1e-4)).all()
    if num_bits < 8:
        assert errors["mse"].sum() < 0.95 * errors["minmax"].sum()


@pytest.mark.parametrize(("kind", "num_bits"), list(product(KINDS, [2, 3, 4, 8])))
def test_leaving_the_search_early_changes_nothing(
    kind: str, num_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = affine.grouped(heavy(64, 128), "group", 32, "w")
    early = searched(groups, num_bits, kind, "mse", torch.float32)
    monkeypatch.setattr(ranges, "_certain_error", lambda ends, *_: torch.zeros_like(ends[:, 0]))
    whole = searched(groups, num_bits, kind, "mse", torch.float32)
    assert torch.equal(early[0], whole[0])
    assert torch.equal(early[1], whole[1])


@pytest.mark.parametrize("choice", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 0.125, -3.0])
def test_constant_groups_and_single_rows(kind: str, choice: ranges.Range, value: float) -> None:
    groups = torch.full((1, 2, 32), value)
    if kind in ("restricted", "full"):
        scale = ranges.symmetric(groups, 4, kind, torch.float32, choice, 99.0)  # type: ignore[arg-type]
        made = AffineWeight(
            affine.codes(groups, scale, 8.0, 0 if kind == "full" else 1, 15).view(1, 64), scale, None, 4, 32
        )
    else:
        zero = "integer" if kind == "integer" else "float"
        scale, point = ranges.asymmetric(groups, 4, zero, torch.float32, choice, 99.0, kind != "raw")
        made = AffineWeight(affine.codes(groups, scale, point, 0, 15).view(1, 64), scale, point, 4, 32)
    assert made.why_invalid(torch.Size((1, 64))) is None
    off = (made.dequantize() - value).abs().max().item()
    # `full` reaches −8 steps of amax/7.5 and +7: a positive constant is off by half a step at most.
    assert off <= (abs(value) / 15 if kind == "full" else 0) + 1e-6 * abs(value)


numbers = st.one_of(st.just(0.0), st.floats(-1, 1, width=32), st.floats(-100, 100, width=32))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(numbers, min_size=8, max_size=8), min_size=1, max_size=4), st.integers(2, 8))
def test_nothing_is_clipped_by_the_whole_range(values: list[list[float]], num_bits: int) -> None:
    weight = torch.tensor(values)
    groups = affine.grouped(weight, "group", 4, "w")
    top = 2**num_bits - 1
    scale, zero = ranges.asymmetric(groups, num_bits, "integer", torch.float32)
    made = [AffineWeight(affine.codes(groups, scale, zero, 0, top).view_as(weight), scale, zero, num_bits, 4)]
    scale = ranges.symmetric(groups, num_bits, "restricted", torch.float32)
    codes = affine.codes(groups, scale, float(2 ** (num_bits - 1)), 1, top).view_as(weight)
    made.append(AffineWeight(codes, scale, None, num_bits, 4))
    for each in made:
        off = (weight - each.dequantize()).abs().view(groups.shape)
        bound = each.scale[..., None] / 2 + 1e-5 * groups.abs().amax(-1, keepdim=True)
        assert bool((off <= bound).all())
