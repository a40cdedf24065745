"""Each kernel against float64 arithmetic on the dequantized weight; conditions; the choice by rows.

Tolerances are what the arithmetic of a kernel implies, per output element, from S = Σ|x|·|ŵ| and |y|:
bf16 keeps 8 significant bits (rounding to nearest moves a value by up to 2⁻⁸ of it), fp16 11, float32 24.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from qbench.errors import KernelError
from qbench.quant.formats.affine import AffineWeight
from qbench.quant.kernels import Kernel, choose, kernel, kernel_rows, kernels, plan
from qbench.quant.kernels.base import native
from qbench.quant.kernels.base.machine import features
from qbench.quant.kernels.shared.activations import quantize_rows
from qbench.quant.layer.linear import QuantizedLinear
from tests.quant.layers import activations, affine

ROWS = (1, 2, 3, 7, 8, 9, 16, 17, 33, 128, 300)
CPU = torch.device("cpu")
EPS = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11, torch.float32: 2.0**-24}
"""Half a unit in the last place, relative."""
PLAIN = [entry for entry in kernels() if "int" in entry.codes and not entry.outliers]
"""Kernels of integer codes alone; the others are tried in test_fp8.py and test_outliers.py."""
HERE = [entry for entry in PLAIN if entry.missing("cpu") is None]


def layer_of(
    weight: AffineWeight, entry: Kernel, dtype: torch.dtype, bias: Tensor | None = None
) -> QuantizedLinear:
    return QuantizedLinear.from_weight(weight, bias, dtype=dtype, name="it", kernel=entry.name)


def int8_rows(x: Tensor) -> Tensor:
    """Dynamic int8 activations by their definition, row by row, in float64."""
    scale = x.double().abs().amax(1, keepdim=True) / 127
    return torch.where(scale > 0, (x.double() / scale).round() * scale, 0.0)


def rounded(x: Tensor, weight: AffineWeight) -> Tensor:
    """x in float64 as the format rounds it."""
    if weight.activations == "none":
        return x.double()
    if weight.input_scale is None:
        return int8_rows(x)
    step = weight.input_scale.double()
    return (x.double() / step).round().clamp(-127, 127) * step


def check(layer: QuantizedLinear, weight: AffineWeight, x: Tensor, bias: Tensor | None = None) -> None:
    """Asserts |y − x·Ŵᵀ| within what rounding in x.dtype and float32 sums can do."""
    dynamic = weight.activations != "none"
    exact_x = rounded(x, weight)
    w = weight.dequantize().double()
    product = exact_x @ w.t()
    expected = product + (0 if bias is None else bias.double())
    size = exact_x.abs() @ w.abs().t()
    eps = EPS[x.dtype]
    # A rounding of the product and one of the output; one of each weight and, emulated, of each activation;
    # float32 sums of K terms. A code on the edge between two may fall either way: one step of one code.
    kernel_name = layer.report()["executed"][-1]["kernel"] if layer.report()["executed"] else ""
    emulated = dynamic and "gemm" in kernel_name
    allowed = 1.05 * eps * (product.abs() + expected.abs()) + 2.0**-24 * x.shape[1] ** 0.5 * size * 4 + 1e-7
    if "dequant" in kernel_name or (kernel_name == "packed_native" and not native.exact(layer)):
        allowed = allowed + eps * size * (2 if emulated else 1)
    if dynamic:
        allowed = allowed + 2 * (exact_x.abs().amax(1, keepdim=True) / 127) * w.abs().amax(1)
    got = layer(x)
    assert got.dtype == x.dtype
    assert got.shape == expected.shape
    worst = ((got.double() - expected).abs() / allowed).max()
    assert worst <= 1, f"{kernel_name}: {float(worst):.2f} times what is allowed"


def cases(entry: Kernel) -> list[dict[str, Any]]:
    """Every combination that the kernel's own conditions claim."""
    return [
        {"num_bits": bits, "strategy": strategy, "zero": zero, "activations": acts, "dtype": dtype}
        for bits in entry.num_bits
        for strategy in entry.strategies
        for zero in entry.zeros
        for acts in entry.activations
        for dtype in entry.dtypes
    ]


def usual(entry: Kernel) -> dict[str, Any]:
    """Plain 8-bit rows where the kernel takes them, else the first combination that it claims."""
    plain = {"num_bits": 8, "strategy": "channel", "zero": "none"}
    claimed = [{key: case[key] for key in plain} for case in cases(entry)]
    return plain if plain in claimed else claimed[0]


DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@pytest.mark.parametrize("entry", HERE, ids=lambda entry: entry.name)
def test_every_claimed_combination(entry: Kernel) -> None:
    for number, case in enumerate(cases(entry)):
        dtype = DTYPES[case.pop("dtype")]
        k = 96 if "group" in entry.strategies else 80
        weight = affine(37, k, **case, seed=number, scale_dtype=dtype if number % 2 else torch.float32)
        layer = layer_of(weight, entry, dtype)
        layer(activations(5, k, dtype))
        check(layer, weight, activations(5, k, dtype, seed=number))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("entry", HERE, ids=lambda entry: entry.name)
def test_every_number_of_rows(entry: Kernel, rows: int) -> None:
    dtype = DTYPES[entry.dtypes[0]]
    weight = affine(50, 160, activations=entry.activations[-1], **usual(entry))
    bias = torch.linspace(-3, 3, 50).to(dtype)
    for given in (None, bias):
        layer = layer_of(weight, entry, dtype, given)
        layer(activations(rows, 160, dtype))
        check(layer, weight, activations(rows, 160, dtype, seed=rows), given)


@pytest.mark.parametrize("shape", [(1, 16), (3, 7), (17, 33), (33, 65), (129, 1), (2, 4097)])
@pytest.mark.parametrize("entry", HERE, ids=lambda entry: entry.name)
def test_odd_shapes(entry: Kernel, shape: tuple[int, int]) -> None:
    n, k = shape
    dtype = DTYPES[entry.dtypes[0]]
    grouped = usual(entry)["strategy"].startswith("group")
    multiple = math.lcm(entry.in_multiple, 32 if grouped else 1)
    k = max(entry.min_in_features, -(-k // multiple) * multiple)
    for number, acts in enumerate(entry.activations):
        weight = affine(n, k, activations=acts, seed=number, **usual(entry))
        for rows in (1, 4, 19):
            layer = layer_of(weight, entry, dtype)
            layer(activations(rows, k, dtype))
            check(layer, weight, activations(rows, k, dtype, seed=rows))


@pytest.mark.parametrize("name", ["int8_onednn", "int8_int_mm"])
@pytest.mark.parametrize("extreme", [False, True], ids=["random", "extreme"])
@pytest.mark.parametrize("zero", ["none", "integer"])
def test_int8_sums_equal_an_int64_reference(name: str, extreme: bool, zero: Any) -> None:
    """With all scales 1 the output *is* the integer sum; float32 holds it exactly below 2^24."""
    if kernel(name).missing("cpu"):
        pytest.skip(str(kernel(name).missing("cpu")))
    k, n = 512, 24
    made = affine(n, k, zero=zero, activations="dynamic")
    codes = torch.full_like(made.codes, 255) if extreme else made.codes
    zeros = None if made.zero is None else made.zero
    weight = AffineWeight(codes, torch.ones(n, 1), zeros, 8, None, "dynamic")
    dtype = DTYPES[kernel(name).dtypes[-1]]
    layer = layer_of(weight, kernel(name), dtype)
    signed = codes.long() - (128 if zeros is None else zeros.long())
    for rows in ROWS:
        x = torch.randint(-127, 128, (rows, k)).float()
        x[:, 0] = 127  # scale 1 in every row
        if extreme:
            x.fill_(-127.0)
        sums = (x.long() @ signed.t()).float()  # as float32 they are rounded to the output's dtype once
        assert torch.equal(layer(x.to(dtype)), sums.to(dtype))


def test_activation_codes_are_what_they_are_defined_to_be() -> None:
    x = activations(300, 97, torch.bfloat16)
    x[3] = 0
    codes, scale = quantize_rows(x, 128, torch.uint8)
    amax = x.float().abs().amax(1, keepdim=True)
    exact = x.double() * 127 / amax.double().clamp(min=1e-30)
    assert ((codes.double() - 128) - exact).abs().max() <= 0.5 + 1e-4
    assert torch.equal(codes[3], torch.full((97,), 128, dtype=torch.uint8))
    torch.testing.assert_close(scale[amax > 0], amax[amax > 0] / 127)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("entry", HERE, ids=lambda entry: entry.name)
def test_a_broken_activation_shows_in_its_row_alone(entry: Kernel, bad: float) -> None:
    weight = affine(16, 64, activations=entry.activations[-1], **usual(entry))
    dtype = DTYPES[entry.dtypes[0]]
    x = activations(3, 64, dtype)
    x[1, 5] = bad
    out = layer_of(weight, entry, dtype)(x)
    assert not out[1].isfinite().any()
    assert out[[0, 2]].isfinite().all()


def spec_of(**case: Any) -> Any:
    return QuantizedLinear.from_weight(affine(64, 64, **case), dtype=torch.bfloat16).spec


def test_auto_takes_the_codes_as_they_are_for_few_rows_and_the_gemm_for_many() -> None:
    ranges = plan(spec_of(), "bf16", CPU, "it")
    assert ranges[0][0] == 1
    assert ranges[0][2].name == ("packed_native" if "native" in features("cpu") else "int8_pack")
    assert ("packed_native" if "native" in features("cpu") else "int8_pack") in {
        one[2].name for one in ranges
    }
    if "bf16_gemm" in features("cpu"):
        assert ranges[-1][2].name == "channel_dequant_gemm"
    assert [first for first, *_ in ranges[1:]] == [last + 1 for _, last, *_ in ranges[:-1] if last]
    assert ranges[-1][1] is None


def test_a_plan_says_what_choose_does() -> None:
    spec = spec_of()
    for first, last, entry, _ in plan(spec, "bf16", CPU, "it"):
        for rows in (first, last or 10_000):
            assert choose(spec, rows, "bf16", CPU, "it")[0] is entry


@pytest.mark.parametrize(
    ("case", "dtype", "expected"),
    [
        ({"activations": "dynamic"}, "bf16", "int8_onednn"),
        ({"activations": "static"}, "bf16", "int8_onednn"),
        ({"activations": "dynamic", "zero": "integer"}, "bf16", "int8_onednn"),
        ({"activations": "dynamic", "zero": "integer"}, "fp32", "int8_onednn"),
        ({"activations": "dynamic", "strategy": "group"}, "bf16", "dequant_gemm"),
        ({"zero": "integer"}, "bf16", "packed_native"),
        ({}, "fp16", "dequant_gemm"),
        ({}, "fp32", "int8_native"),
        ({"num_bits": 7}, "fp32", "channel_dequant_gemm"),
        ({"num_bits": 4, "strategy": "group"}, "bf16", "packed_native"),
        ({"num_bits": 4, "zero": "float"}, "bf16", "packed_native"),
        ({"num_bits": 4, "strategy": "group"}, "fp32", "dequant_gemm"),
    ],
)
def test_auto_by_format(case: dict[str, Any], dtype: str, expected: str) -> None:
    if kernel(expected).missing("cpu"):
        pytest.skip(str(kernel(expected).missing("cpu")))
    assert choose(spec_of(**case), 1, dtype, CPU, "it")[0].name == expected


def test_listing_is_json_and_says_why_not() -> None:
    listed = json.loads(json.dumps(kernel_rows()))
    assert [entry["name"] for entry in listed] == [entry.name for entry in kernels()]
    for entry in listed:
        assert entry["available"] is (entry["reason"] is None)
    if not torch.cuda.is_available():
        cuda = [entry for entry in listed if entry["devices"] == ["cuda"]]
        assert cuda
        assert all("CUDA" in entry["reason"] for entry in cuda)


@pytest.mark.parametrize(
    ("name", "case", "dtype", "said"),
    [
        ("int8_pack", {}, "fp32", "dtype is fp32"),
        ("int8_pack", {"num_bits": 4}, "bf16", "num_bits is 4"),
        ("int8_pack", {"strategy": "group"}, "bf16", "strategy is group"),
        ("int8_pack", {"zero": "integer"}, "bf16", "zero is integer"),
        ("int8_pack", {"activations": "dynamic"}, "bf16", "activations is dynamic"),
        ("int8_pack_cuda", {}, "bf16", "runs on cuda"),
    ],
)
def test_why_not_names_the_condition(name: str, case: dict[str, Any], dtype: str, said: str) -> None:
    assert said in str(kernel(name).why_not(spec_of(**case), dtype, CPU))


def test_a_ragged_k_keeps_the_pack_kernel_off() -> None:
    spec = QuantizedLinear.from_weight(affine(8, 72), dtype=torch.bfloat16).spec
    assert kernel("int8_pack").why_not(spec, "bf16", CPU) == "in_features 72 is no multiple of 16"
    assert choose(spec, 8, "bf16", CPU, "it")[0].name != "int8_pack"


def test_an_unknown_kernel_is_an_error_with_a_near_miss() -> None:
    with pytest.raises(KernelError, match=r"did you mean 'int8_pack'\?"):
        kernel("int8_pak")


SATURATING = """
import torch
from qbench.quant.kernels import plan
from qbench.quant.kernels.base import native
from qbench.quant.kernels.base.machine import features
from qbench.quant.layer.linear import QuantizedLinear
from tests.quant.layers import activations, affine
weight = affine(64, 512, activations="dynamic")
layer = QuantizedLinear.from_weight(weight, dtype=torch.float32)
print("exact_int8" in features("cpu"), layer.planned()[0]["kernel"])
x = activations(9, 512, torch.float32)
s = x.abs().amax(1, keepdim=True).double() / 127
expected = ((x.double() / s).round() * s) @ weight.dequantize().double().t()
print(float((layer(x).double() - expected).norm() / expected.norm()))
"""


@pytest.mark.slow
def test_a_cpu_whose_products_saturate_gets_no_int8_kernel() -> None:
    """ONEDNN_MAX_CPU_ISA takes VNNI away: oneDNN's sums are then wrong, and the table must notice."""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", SATURATING],
        env=environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found, error = done.stdout.splitlines()
    if found.startswith("True"):
        pytest.skip("oneDNN ignores ONEDNN_MAX_CPU_ISA here")
    assert found == "False channel_dequant_gemm"
    assert float(error) < 1e-3
