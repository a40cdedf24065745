"""Kernels for 8-bit floats: products, conditions, storage of their layers."""

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

from qbench.errors import KernelError
from qbench.quant.formats.fp8 import FORMATS, Fp8Weight
from qbench.quant.kernels import DTYPES, Kernel, kernel, kernels, plan
from qbench.quant.kernels.base.machine import features
from qbench.quant.kernels.cuda.fp8_scaled_mm import prepare_scaled_mm, run_scaled_mm
from qbench.quant.layer.linear import QuantizedLinear
from tests.quant.formats.test_fp8 import quantize, weight
from tests.quant.layers import activations

EPS = {"bf16": 2.0**-8, "fp16": 2.0**-11, "fp32": 2.0**-24}
HERE = [entry for entry in kernels() if entry.missing("cpu") is None and "e4m3" in entry.codes]
CASES = [
    {"format": fmt, "strategy": strategy, "activations": acts}
    for fmt in FORMATS
    for strategy in ("tensor", "channel", "block")
    for acts in ("none", "dynamic", "static")
]
CPU = torch.device("cpu")


def rounded(x: Tensor, made: Fp8Weight) -> Tensor:
    """x in float64 as the format rounds it."""
    if made.activations == "none":
        return x.double()
    step = made.input_scale
    if step is None:
        step = x.float().abs().amax(1, keepdim=True).clamp(min=1e-30) / 448
    scaled = (x.float() / step).clamp(-448, 448)
    return scaled.to(torch.float8_e4m3fn).double() * step.double()


def allowed_error(x: Tensor, exact_x: Tensor, w: Tensor, eps: float) -> Tensor:
    """Roundings of weight, activation and output to the dtype, and float32 sums."""
    size = exact_x.abs() @ w.abs().t()
    product = exact_x @ w.t()
    sums = 2.0**-24 * 4 * x.shape[1] ** 0.5 * size
    return 1.05 * eps * (2 * product.abs() + 2 * size) + sums + 1e-7


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case.values()))
@pytest.mark.parametrize("entry", HERE, ids=lambda entry: entry.name)
def test_a_kernel_gives_the_product(entry: Kernel, case: dict[str, Any]) -> None:
    for dtype_name in entry.dtypes:
        dtype = DTYPES[dtype_name]
        for n, k in ((1, 16), (137, 145)):
            made = quantize(weight(n, k, dtype), **case)
            for bias in (None, torch.linspace(-1, 1, n).to(dtype)):
                layer = QuantizedLinear.from_weight(made, bias, dtype=dtype, name="it", kernel=entry.name)
                for rows in (1, 260):
                    x = activations(rows, k, dtype, seed=rows)
                    exact_x, w = rounded(x, made), made.dequantize().double()
                    expected = exact_x @ w.t() + (0 if bias is None else bias.double())
                    bound = allowed_error(x, exact_x, w, EPS[dtype_name]) + EPS[dtype_name] * expected.abs()
                    got = layer(x)
                    assert got.dtype == dtype
                    assert float(((got.double() - expected).abs() / bound).max()) <= 1


@pytest.mark.parametrize("size", [1, 4096])
def test_tiles_that_begin_inside_a_block(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qbench.quant.kernels.shared.scratch.WEIGHT_TILE_BYTES", size)
    made = quantize(weight(300, 140), strategy="block")
    layer = QuantizedLinear.from_weight(made, dtype=torch.float32)
    x = activations(3, 140, torch.float32)
    torch.testing.assert_close(layer(x), x @ made.dequantize().t(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("acts", ["none", "dynamic", "static"])
def test_a_broken_activation_shows_in_its_row_alone(acts: str, bad: float) -> None:
    layer = QuantizedLinear.from_weight(quantize(weight(16, 64), activations=acts), dtype=torch.bfloat16)
    x = activations(3, 64, torch.bfloat16)
    x[1, 5] = bad
    out = layer(x)
    assert not out[1].isfinite().any()
    assert out[[0, 2]].isfinite().all()
    assert layer(x[:0]).shape == (0, 16)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case.values()))
def test_save_reload_cast_and_count(case: dict[str, Any], tmp_path: Path) -> None:
    made = quantize(weight(150, 200, torch.bfloat16), **case)
    layer = QuantizedLinear.from_weight(made, torch.ones(150), dtype=torch.bfloat16)
    x = activations(9, 200, torch.bfloat16)
    before = layer(x)
    save_file(layer.state_dict(), tmp_path / "it.safetensors")
    for device in ("cpu", "meta"):
        again = QuantizedLinear.from_config(json.loads(json.dumps(layer.config())), "again", device)
        again.load_state_dict(load_file(tmp_path / "it.safetensors"), assign=device == "meta")
        assert torch.equal(again(x), before)
    layer.half().bfloat16()
    assert layer.codes is not None
    assert layer.codes.dtype == FORMATS[case["format"]]
    assert torch.equal(layer(x), before)
    assert torch.equal(layer.dequantize(), made.dequantize())
    scales = {"tensor": 1, "channel": 150, "block": 4}[case["strategy"]]
    expected = 8 + 32 * (scales + (case["activations"] == "static")) / (150 * 200)
    assert layer.bits_per_weight == pytest.approx(expected)
    assert layer.report()["code"] == case["format"]
    held = layer.resident_bytes()
    assert sum(held.values()) - held["prepared"] == pytest.approx(expected * 150 * 200 / 8 + 2 * 150)


def test_no_integer_kernel_takes_it_and_no_float_kernel_takes_integers() -> None:
    layer = QuantizedLinear.from_weight(quantize(weight(32, 64)), dtype=torch.bfloat16)
    names = [entry.name for *_, entry, _ in plan(layer.spec, "bf16", CPU, "it")]
    assert names[-1] == "fp8_dequant_gemm"
    assert names[:-1] == (["fp8_native"] if "native" in features("cpu") else [])
    layer32 = QuantizedLinear.from_weight(quantize(weight(32, 64)), dtype=torch.float32)
    assert [entry.name for *_, entry, _ in plan(layer32.spec, "fp32", CPU, "it")] == ["fp8_dequant_gemm"]
    with pytest.raises(KernelError, match="code is e4m3, it takes int"):
        QuantizedLinear.from_weight(quantize(weight(32, 64)), dtype=torch.bfloat16, kernel="dequant_gemm")


@pytest.mark.parametrize(
    ("case", "n", "k", "dtype", "said"),
    [
        ({}, 32, 64, "bf16", "activations is none"),
        ({"activations": "dynamic", "format": "e5m2"}, 32, 64, "bf16", "code is e5m2"),
        ({"activations": "dynamic", "strategy": "block"}, 32, 64, "bf16", "strategy is block"),
        ({"activations": "dynamic"}, 32, 72, "bf16", "in_features 72"),
        ({"activations": "static"}, 40, 64, "bf16", "out_features 40"),
        ({"activations": "dynamic"}, 32, 64, "fp16", "dtype is fp16"),
    ],
)
def test_conditions_of_the_tensor_core_kernel(
    case: dict[str, str], n: int, k: int, dtype: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = QuantizedLinear.from_weight(quantize(weight(n, k), **case), dtype=torch.bfloat16).spec
    entry = kernel("fp8_scaled_mm")
    assert entry.why_not(spec, dtype, CPU) == "runs on cuda"
    monkeypatch.setattr(Kernel, "missing", lambda *_: None)
    assert said in str(entry.why_not(spec, dtype, CPU))


@pytest.mark.parametrize("activated", ["dynamic", "static"])
@pytest.mark.parametrize("strategy", ["tensor", "channel"])
def test_the_tensor_core_kernel_hands_over_what_the_gemm_asks_for(
    strategy: str, activated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its arithmetic on a CPU, through a stand-in that holds `torch._scaled_mm` to its documented terms."""

    def scaled_mm(a: Tensor, b: Tensor, scale_a: Tensor, scale_b: Tensor, out_dtype: torch.dtype) -> Tensor:
        assert a.dtype == b.dtype == torch.float8_e4m3fn
        assert a.is_contiguous()
        assert b.stride() == (1, b.shape[0])
        assert scale_a.dtype == scale_b.dtype == torch.float32
        assert scale_a.is_contiguous()
        assert scale_b.is_contiguous()
        single = scale_a.numel() == 1 and scale_b.numel() == 1
        assert single or (scale_a.shape == (a.shape[0], 1) and scale_b.shape == (1, b.shape[1]))
        assert single == (strategy == "tensor" and activated == "static")
        return ((a.float() @ b.float()) * scale_a * scale_b).to(out_dtype)

    monkeypatch.setattr(torch, "_scaled_mm", scaled_mm)
    made = quantize(weight(48, 64), strategy=strategy, activations=activated)
    bias = torch.linspace(-1, 1, 48).bfloat16()
    layer = QuantizedLinear.from_weight(made, bias, dtype=torch.bfloat16)
    for rows in (1, 16, 33):
        x = activations(rows, 64, torch.bfloat16)
        got = run_scaled_mm(layer, prepare_scaled_mm(layer), x)
        expected = rounded(x, made) @ made.dequantize().double().t() + bias.double()
        assert got.shape == (rows, 48)
        torch.testing.assert_close(got.double(), expected, rtol=0.02, atol=0.02)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case.values()))
def test_cuda_kernels(case: dict[str, Any]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cuda = torch.device("cuda", 0)
    for entry in (entry for entry in kernels() if "e4m3" in entry.codes):
        for dtype_name in entry.dtypes:
            dtype = DTYPES[dtype_name]
            made = quantize(weight(272, 160, dtype), **case)
            layer = QuantizedLinear.from_weight(made, torch.ones(272), dtype=dtype).cuda()
            if entry.why_not(layer.spec, dtype_name, cuda):
                continue
            layer.spec = dataclasses.replace(layer.spec, kernel=entry.name)
            for rows in (1, 16, 17, 300):
                x = activations(rows, 160, dtype, seed=rows)
                expected = rounded(x, made) @ made.dequantize().double().t() + 1
                got = layer(x.cuda()).cpu().double()
                assert (got - expected).norm() <= 0.01 * expected.norm()
