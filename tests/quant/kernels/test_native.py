"""The compiled kernels: right for every shape, and a named absence where they cannot be built."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qbench.quant.formats.affine import AffineWeight, Strategy
from qbench.quant.formats.fp8 import FORMATS, Fp8Weight
from qbench.quant.kernels.base import compiler, native
from qbench.quant.kernels.cpu.packed_native import prepare_packed, run_packed
from qbench.quant.layer.linear import QuantizedLinear
from tests.quant.layers import ZeroKind, activations, affine

needs_compiler = pytest.mark.skipif(native.why_not() is not None, reason=f"not built: {native.why_not()}")


def _layer(n: int, k: int, dtype: torch.dtype, bias: bool) -> QuantizedLinear:
    drawn = torch.Generator().manual_seed(n * 1000 + k)
    codes = torch.randint(1, 256, (n, k), dtype=torch.uint8, generator=drawn)
    scale = torch.rand(n, 1, generator=drawn) * 0.01 + 0.001
    added = torch.randn(n, generator=drawn) if bias else None
    weight = AffineWeight(codes, scale, None, 8)
    return QuantizedLinear.from_weight(weight, added, dtype=dtype, kernel="int8_native")


@needs_compiler
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (3, 15), (4, 16), (5, 17), (64, 576), (257, 100), (512, 1536)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("bias", [False, True])
def test_products_equal_float64_arithmetic(rows: int, n: int, k: int, dtype: torch.dtype, bias: bool) -> None:
    layer = _layer(n, k, dtype, bias)
    x = torch.randn(rows, k, generator=torch.Generator().manual_seed(rows)).to(dtype)
    weight = layer.dequantize(torch.float32).double()
    wanted = x.double() @ weight.t() + (0 if layer.bias is None else layer.bias.double())
    room = x.abs().double() @ weight.abs().t()
    got = layer(x)
    assert [entry["kernel"] for entry in layer.report()["executed"]] == ["int8_native"]
    assert got.dtype == dtype
    unit = torch.finfo(dtype).eps
    allowed = room * 2**-20 + wanted.abs() * unit + 1e-6  # float32 sums, then one rounding
    assert bool(((got.double() - wanted).abs() <= allowed).all())


SHAPES = [  # n, k, group: whole blocks, ends of rows, groups that registers and blocks do not divide
    (40, 576, 64),
    (37, 192, 32),
    (33, 256, 128),
    (9, 192, 96),
    (5, 160, 16),
    (7, 96, 24),
    (9, 136, 8),
    (12, 200, 40),
    (1, 64, 64),
    (70, 1100, 50),
]
SCALES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture(scope="module", params=["this machine's", "portable"])
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    """Compiled as it runs here, and with the plain C that other processors get."""
    if native.why_not() is not None:
        pytest.skip(f"not built: {native.why_not()}")
    flags = ("-DQBENCH_PORTABLE",) if request.param == "portable" else ()
    return native.load(compiler.built(*flags))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("zero", ["none", "integer", "float"])
@pytest.mark.parametrize("strategy", ["tensor", "channel", "group"])
def test_packed_weights_are_the_dequantized_ones(
    library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, bits: int, zero: ZeroKind, strategy: Strategy
) -> None:
    """Bit for bit in the tiles, and within float32 sums of float64 arithmetic in the products."""
    monkeypatch.setattr(native, "_library", lambda: library)
    for index, (n, k, group) in enumerate(SHAPES):
        dtype = SCALES[(index + bits) % 3]
        weight = affine(
            n, k, num_bits=bits, strategy=strategy, zero=zero, scale_dtype=dtype, group_size=group
        )
        if zero == "float" and weight.zero is not None:
            weight = dataclasses.replace(weight, zero=weight.zero.to(SCALES[index % 3]))
        layer = QuantizedLinear.from_weight(weight, torch.randn(n), dtype=torch.bfloat16)
        rounded = weight.dequantize(torch.bfloat16)
        described = native.describe(layer, exact=False)
        if k % native.WIDE == 0:
            tile = torch.full((n + 1, k), 7, dtype=torch.bfloat16)
            native.expand(layer, described[0], 0, n, tile)
            assert torch.equal(tile[:n], rounded), (n, k, group)
            assert bool((tile[n] == 7).all()), "written past the end"
        exactly = native.exact(layer)
        used = weight.dequantize(torch.float32) if exactly else rounded
        for rows in (1, 2, 4, 5, 7, 13, 70):
            x = activations(rows, k, torch.bfloat16)
            assert layer.bias is not None
            wanted = x.double() @ used.double().t() + layer.bias.double()
            room = x.double().abs() @ used.double().abs().t()
            got = run_packed(layer, prepare_packed(layer), x)
            assert bool(((got.double() - wanted).abs() <= room * 2**-18 + wanted.abs() * 2**-8 + 1e-6).all())


@needs_compiler
def test_inf_in_one_row_of_x_stays_in_it() -> None:
    layer = QuantizedLinear.from_weight(affine(32, 128, num_bits=4, strategy="group"), dtype=torch.bfloat16)
    for rows in (2, 9):
        x = activations(rows, 128, torch.bfloat16)
        clean = layer(x)
        x[1, 5] = float("inf")
        spoilt = layer(x)
        assert not bool(spoilt[1].isfinite().all())
        kept = [row for row in range(rows) if row != 1]
        assert torch.equal(spoilt[kept], clean[kept])


@needs_compiler
def test_rounding_is_to_nearest_even_and_nan_stays() -> None:
    codes = torch.full((1, 2), 129, dtype=torch.uint8)  # both weights are 1·scale
    layer = QuantizedLinear.from_weight(AffineWeight(codes, torch.ones(1, 1), None, 8), dtype=torch.bfloat16)
    for pair in ([1.0, 2**-8], [1.0 + 2**-7, 2**-8], [-1.0, -(2**-8)], [float("nan"), 1.0], [3e38, 3e38]):
        x = torch.tensor([pair]).to(torch.bfloat16)
        wanted = x.float().sum(1, keepdim=True).to(torch.bfloat16)
        assert torch.equal(layer(x).isnan(), wanted.isnan())
        assert torch.equal(layer(x).nan_to_num(), wanted.nan_to_num())


SUBNORMAL = """
import numpy
from qbench.quant.kernels.base import native
assert native.why_not() is None
print(float(numpy.float32(1e-40) * numpy.float32(1.0)) > 0)
"""
SAY = "from qbench.quant.kernels.base import native; print(native.why_not())"
RUN = """
import torch
from qbench.quant.formats.affine import AffineWeight
from qbench.quant.layer.linear import QuantizedLinear
codes = torch.full((16, 16), 3, dtype=torch.uint8)
weight = AffineWeight(codes, torch.ones(16, 1, dtype=torch.bfloat16), None, 8)
layer = QuantizedLinear.from_weight(weight, dtype=torch.bfloat16)
layer(torch.ones(1, 16, dtype=torch.bfloat16))
print(layer.report()["executed"][0]["kernel"])
"""


def _python(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_without_a_compiler_the_reason_is_named_and_torchs_kernel_runs(tmp_path: Path) -> None:
    bare = {"PATH": str(tmp_path), "CC": "", "QBENCH_CACHE": str(tmp_path)}
    assert "no C compiler" in _python(SAY, **bare)
    assert _python(RUN, **bare) in ("int8_pack", "channel_dequant_gemm")


def test_a_compiler_that_fails_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'no such flag' >&2\nexit 3\n")
    broken.chmod(0o755)
    said = _python(SAY, CC=str(broken), QBENCH_CACHE=str(tmp_path / "cache"))
    assert "no such flag" in said
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@needs_compiler
def test_loading_it_leaves_small_numbers_as_they_are() -> None:
    assert _python(SUBNORMAL) == "True", "the process flushes subnormal numbers to zero"


@needs_compiler
def test_it_is_built_once_and_found_again(tmp_path: Path) -> None:
    assert _python(SAY, QBENCH_CACHE=str(tmp_path)) == "None"
    (built,) = tmp_path.rglob("*.so")
    before = built.stat().st_mtime_ns
    assert _python(SAY, QBENCH_CACHE=str(tmp_path)) == "None"
    assert built.stat().st_mtime_ns == before


@pytest.mark.parametrize("form", ["e4m3", "e5m2"])
@pytest.mark.parametrize("block", [None, 128])
def test_floats_of_8_bits_are_expanded_exactly(
    library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, form: str, block: int | None
) -> None:
    """All finite codes, subnormal ones too, in rows and columns that blocks do not divide."""
    monkeypatch.setattr(native, "_library", lambda: library)
    every = torch.arange(256, dtype=torch.uint8).view(FORMATS[form])
    finite = every[every.float().isfinite()]
    drawn = torch.Generator().manual_seed(5)
    codes = finite.view(torch.uint8)[torch.randint(len(finite), (150, 416), generator=drawn)]
    codes[0, : len(finite)] = finite.view(torch.uint8)
    scale = torch.rand((2, 4) if block else (150, 1), generator=drawn) + 0.5
    weight = Fp8Weight(codes.view(FORMATS[form]), scale, block)
    layer = QuantizedLinear.from_weight(weight, dtype=torch.bfloat16)
    tile = torch.empty(150, 416, dtype=torch.bfloat16)
    native.expand(layer, native.describe(layer, exact=False)[0], 0, 150, tile)
    assert torch.equal(tile, weight.dequantize(torch.bfloat16))
    native.expand(layer, native.describe(layer, exact=False)[0], 37, 140, tile[37:140])
    assert torch.equal(tile, weight.dequantize(torch.bfloat16))
