"""LLM.int8(): which columns are kept, the product against float64, the two limits, storage."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from qbench import AffineWeight, Layer, MethodError
from qbench.errors import KernelError
from qbench.quant.formats.outliers import Outliers
from qbench.quant.kernels import DTYPES, Kernel, kernel, kernels
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.method import registry
from qbench.quant.method.inputs import Inputs
from tests.quant.layers import affine

HERE = [entry for entry in kernels() if entry.outliers and entry.missing("cpu") is None]
EPS = {"bf16": 2.0**-8, "fp16": 2.0**-11, "fp32": 2.0**-24}
CALIBRATED = (3, 40)
"""Columns that the calibration text below shows as outliers."""


def inputs(rows: int, k: int, columns: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Within ±5, but for one row in the given columns, which holds ±20."""
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, k, generator=generator).clamp(-5, 5)
    for column in columns:
        x[column % rows, column] = 20.0 * (-1) ** column
    return x.to(dtype)


def weight(n: int, k: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.randn(n, k, generator=torch.Generator().manual_seed(n)) * 0.05).to(dtype)


def quantize(w: Tensor, x: Tensor | None = None, **params: Any) -> AffineWeight:
    seen = None
    if x is not None:
        seen = Inputs(w.shape[1], ("columns",), "cpu")
        seen.add(x)
    layer = Layer("block.proj", "Linear", w.shape[1], w.shape[0], seen)
    made = registry.make("llm_int8", params).quantize_layer(w, layer)
    assert isinstance(made, AffineWeight)
    assert made.why_invalid(w.shape) is None
    return made


def kept(made: AffineWeight) -> list[int]:
    assert made.outliers is not None
    return [] if made.outliers.columns is None else made.outliers.columns.tolist()


def reference(x: Tensor, made: AffineWeight) -> tuple[Tensor, Tensor]:
    """The product in float64, column by column, and Σ|x|·|w|."""
    assert made.outliers is not None
    exact, w = x.double(), made.dequantize().double()
    over = [j for j in range(x.shape[1]) if bool((exact[:, j].abs() >= made.outliers.threshold).any())]
    apart = sorted({*over, *kept(made)})
    rest = exact.clone()
    rest[:, apart] = 0
    scale = rest.abs().amax(1, keepdim=True).clamp(min=1e-30) / 127
    used = (rest / scale).round() * scale
    used[:, apart] = exact[:, apart]
    return used @ w.t(), used.abs() @ w.abs().t()


@pytest.mark.parametrize("mode", ["original", "dequantized"])
@pytest.mark.parametrize("entry", HERE, ids=lambda entry: entry.name)
def test_the_product(entry: Kernel, mode: str) -> None:
    for number, (n, k) in enumerate([(1, 48), (37, 80), (50, 131)]):
        dtype_name = entry.dtypes[number % len(entry.dtypes)]
        dtype, eps = DTYPES[dtype_name], EPS[dtype_name]
        made = quantize(weight(n, k, dtype), inputs(50, k, CALIBRATED), outlier_weights=mode)
        assert kept(made) == (list(CALIBRATED) if mode == "original" else [])
        bias = torch.linspace(-1, 1, n).to(dtype)
        layer = QuantizedLinear.from_weight(made, bias, dtype=dtype, name="it", kernel=entry.name)
        for rows, columns in ((1, ()), (1, (3,)), (4, (3, 7, k - 1)), (300, (0, 3, 40, 41)), (19, ())):
            x = inputs(rows, k, columns, dtype)
            product, size = reference(x, made)
            expected = product + bias.double()
            # The partial sums are rounded to the dtype once each; a tie of an activation falls either way.
            step = x.double().abs().clamp(max=6).amax(1, keepdim=True) / 127
            allowed = eps * (4 * size + 2) + 2.0**-20 * size + 2 * step * made.dequantize().abs().amax(1)
            got = layer(x)
            assert got.dtype == dtype
            assert float(((got.double() - expected).abs() / allowed).max()) <= 1
        assert layer(x[:0]).shape == (0, n)


@pytest.mark.parametrize("entry", HERE, ids=lambda entry: entry.name)
def test_without_outliers_it_is_vector_wise_int8_to_the_bit(entry: Kernel) -> None:
    """Oracle: no column over the threshold."""
    plain = {
        "int8_outliers": "int8_onednn",
        "int8_outliers_int_mm": "int8_int_mm",
    }
    dtype = DTYPES[entry.dtypes[-1]]
    w, x = weight(40, 96), inputs(30, 96, (), dtype)
    made = quantize(w, x)
    absmax = registry.make("absmax", {"activations": "dynamic"})
    expected = absmax.quantize_layer(w, Layer("a", "Linear", 96, 40))
    assert isinstance(expected, AffineWeight)
    assert torch.equal(made.codes, expected.codes)
    assert torch.equal(made.scale, expected.scale)
    assert kept(made) == []
    ours = QuantizedLinear.from_weight(made, dtype=dtype, kernel=entry.name)
    theirs = QuantizedLinear.from_weight(expected, dtype=dtype, kernel=plain.get(entry.name, "dequant_gemm"))
    for rows in (1, 16, 30):
        assert torch.equal(ours(x[:rows]), theirs(x[:rows]))


@pytest.mark.parametrize("mode", ["original", "dequantized"])
@pytest.mark.parametrize("entry", HERE, ids=lambda entry: entry.name)
def test_a_vanishing_threshold_leaves_the_float_product(entry: Kernel, mode: str) -> None:
    """Oracle: threshold → 0⁺ is x·Wᵀ with the original weights, x·dequant(W8)ᵀ with those of int8."""
    dtype = DTYPES[entry.dtypes[-1]]
    w, x = weight(40, 96, dtype), inputs(30, 96, (5,), dtype)
    made = quantize(w, x, threshold=1e-30, outlier_weights=mode)
    assert not made.collapsed()
    assert torch.equal(made.dequantize(dtype), w) == (mode == "original")
    layer = QuantizedLinear.from_weight(made, dtype=dtype, kernel=entry.name)
    near = 1e-5 if dtype == torch.float32 else 1e-2
    for rows in (1, 30):
        wanted = x[:rows].float() @ made.dequantize(dtype).float().t()
        torch.testing.assert_close(layer(x[:rows]).float(), wanted, rtol=near, atol=near)


def test_columns_of_the_calibration_text_are_kept_as_they_are() -> None:
    w = weight(20, 64, torch.bfloat16)
    w[:, CALIBRATED[0]] = 7.0  # would fix every row's scale
    made = quantize(w, inputs(50, 64, CALIBRATED))
    assert kept(made) == list(CALIBRATED)
    assert made.outliers is not None
    assert made.outliers.weights is not None
    assert torch.equal(made.outliers.weights, w[:, CALIBRATED])
    assert made.outliers.weights.dtype == torch.bfloat16
    assert bool((made.codes[:, CALIBRATED] == 128).all())
    rest = w.float().clone()
    rest[:, CALIBRATED] = 0
    torch.testing.assert_close(made.scale, rest.abs().amax(1, keepdim=True) / 127)
    assert torch.equal(made.dequantize(torch.bfloat16)[:, CALIBRATED], w[:, CALIBRATED])
    off = (made.dequantize() - w.float()).abs()
    assert bool((off <= made.scale * 0.5001).all())


def test_an_input_at_the_threshold_is_an_outlier() -> None:
    x = torch.zeros(4, 32)
    x[1, 5], x[2, 6] = 6.0, math.nextafter(6.0, 0.0)
    x[2, 6] = torch.nextafter(torch.tensor(6.0), torch.tensor(0.0))
    x[3, 7] = -6.0
    assert kept(quantize(weight(8, 32), x)) == [5, 7]
    assert kept(quantize(weight(8, 32), x, threshold=7.0)) == []


def test_planted_outliers_spoil_plain_int8_and_not_this() -> None:
    w = weight(48, 128)
    x = inputs(60, 128, ())
    x[:, 9] *= 100
    exact = x.double() @ w.double().t()
    absmax = registry.make("absmax", {"activations": "dynamic"})
    errors = {}
    for name, made in {
        "absmax": absmax.quantize_layer(w, Layer("a", "Linear", 128, 48)),
        "original": quantize(w, x),
        "dequantized": quantize(w, outlier_weights="dequantized"),
    }.items():
        got = QuantizedLinear.from_weight(made, dtype=torch.float32)(x).double()
        errors[name] = float((got - exact).norm())
    assert errors["original"] < errors["dequantized"] < errors["absmax"]
    assert errors["original"] * 10 < errors["absmax"]


def test_the_report_counts_what_was_taken_out() -> None:
    layer = QuantizedLinear.from_weight(
        quantize(weight(20, 64), inputs(50, 64, CALIBRATED)), dtype=torch.float32
    )
    assert layer.report()["outlier_share_seen"] is None
    layer(inputs(10, 64, CALIBRATED))
    layer(inputs(10, 64, (*CALIBRATED, 5, 6)))
    report = json.loads(json.dumps(layer.report()))
    assert report["outlier_columns"] == 2
    assert report["outlier_share"] == 2 / 64
    assert report["outlier_share_seen"] == (2 + 4) / 2 / 64
    assert report["outlier_threshold"] == 6.0
    layer.reset_counts()
    assert layer.report()["outlier_share_seen"] is None
    assert "outlier_columns" not in QuantizedLinear.from_weight(affine(8, 64), dtype=torch.bfloat16).report()


@pytest.mark.parametrize("mode", ["original", "dequantized"])
def test_save_reload_cast_and_count(mode: str, tmp_path: Path) -> None:
    made = quantize(weight(24, 80, torch.bfloat16), inputs(50, 80, CALIBRATED), outlier_weights=mode)
    layer = QuantizedLinear.from_weight(made, torch.ones(24), dtype=torch.bfloat16)
    x = inputs(9, 80, (3, 5), torch.bfloat16)
    before = layer(x)
    save_file(layer.state_dict(), tmp_path / "it.safetensors")
    for device in ("cpu", "meta"):
        again = QuantizedLinear.from_config(json.loads(json.dumps(layer.config())), "again", device)
        again.load_state_dict(load_file(tmp_path / "it.safetensors"), assign=device == "meta")
        assert torch.equal(again(x), before)
    layer.float().bfloat16()
    assert torch.equal(layer(x), before)
    assert torch.equal(layer.dequantize(), made.dequantize())
    apart = 2 * (24 * 16 + 32) if mode == "original" else 0
    assert layer.bits_per_weight == pytest.approx(8 + 32 / 80 + apart / (24 * 80))
    assert layer.resident_bytes()["outliers"] == apart / 8


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("column", [3, 11])
@pytest.mark.parametrize("entry", HERE, ids=lambda entry: entry.name)
def test_a_broken_activation_shows_in_its_row_alone(entry: Kernel, column: int, bad: float) -> None:
    made = quantize(weight(16, 64), inputs(50, 64, CALIBRATED))
    x = inputs(3, 64, (40,), torch.bfloat16)
    x[2, column] = bad
    out = QuantizedLinear.from_weight(made, dtype=torch.bfloat16, kernel=entry.name)(x)
    assert not out[2].isfinite().any()
    assert out[:2].isfinite().all()


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.inf, math.nan])
def test_a_threshold_without_meaning_is_refused(threshold: float) -> None:
    with pytest.raises(MethodError, match="absmax with activations: dynamic"):
        registry.make("llm_int8", {"threshold": threshold})


def test_what_each_way_needs() -> None:
    assert registry.make("llm_int8", {}).statistics == ("columns",)
    assert registry.make("llm_int8", {"outlier_weights": "dequantized"}).statistics == ()
    with pytest.raises(MethodError, match=r"block\.proj: the outlier weights need .*calibration text"):
        quantize(weight(4, 32))


@pytest.mark.parametrize(
    ("columns", "weights", "said"),
    [
        ([5, 3], (16, 2), "ascending"),
        ([3, 3], (16, 2), "ascending"),
        ([3, 64], (16, 2), "ascending"),
        ([3, 5], (16, 3), r"not \(N, C\)"),
        ([], (16, 0), r"not int32 \(C\)"),
    ],
)
def test_what_contradicts_the_format_is_named(
    columns: list[int], weights: tuple[int, int], said: str
) -> None:
    kept = Outliers(6.0, torch.tensor(columns, dtype=torch.int32), torch.zeros(weights))
    made = dataclasses.replace(affine(16, 64, activations="dynamic"), outliers=kept)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(str(made.why_invalid(torch.Size((16, 64)))))
    weight_only = dataclasses.replace(affine(16, 64), outliers=Outliers(6.0))
    assert "dynamic activations" in str(weight_only.why_invalid(torch.Size((16, 64))))


def test_kernels_with_and_without_outliers_do_not_stand_in_for_each_other() -> None:
    made = quantize(weight(16, 64), outlier_weights="dequantized")
    with pytest.raises(KernelError, match="it takes no layers with outlier columns"):
        QuantizedLinear.from_weight(made, dtype=torch.bfloat16, kernel="dequant_gemm")
    plain = affine(16, 64, activations="dynamic")
    with pytest.raises(KernelError, match="it takes only layers with outlier columns"):
        QuantizedLinear.from_weight(plain, dtype=torch.bfloat16, kernel="outliers_dequant_gemm")
    chosen = QuantizedLinear.from_weight(made, dtype=torch.bfloat16).planned()
    order = ("int8_outliers", "int8_outliers_int_mm", "outliers_dequant_gemm")
    here = [name for name in order if kernel(name).missing("cpu") is None]
    assert [entry["kernel"] for entry in chosen] == [here[0]]


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["original", "dequantized"])
@pytest.mark.parametrize("name", [e.name for e in kernels() if e.outliers and "cuda" in e.devices])
def test_cuda_kernels(name: str, mode: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    made = quantize(weight(64, 96), inputs(50, 96, CALIBRATED), outlier_weights=mode)
    layer = QuantizedLinear.from_weight(made, dtype=torch.float32).cuda()
    layer.spec = dataclasses.replace(layer.spec, kernel=name)
    for rows in (1, 17, 300):
        x = inputs(rows, 96, (0, 3, 41))
        expected, _ = reference(x, made)
        assert (layer(x.cuda()).cpu().double() - expected).norm() <= 0.01 * expected.norm()
