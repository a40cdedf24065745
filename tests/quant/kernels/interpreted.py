"""Runs the Triton kernels on the CPU through Triton's interpreter; `test_triton.py` starts it.

TRITON_INTERPRET must be set before Triton is imported, and changes it for the whole process: hence a process
of its own. The interpreter keeps bf16 as 16-bit integers: it cannot multiply them (so `gemm` is tried in fp16
and fp32; bf16 differs in no line of it) and cuts the last bits off where a GPU rounds.

Prints one JSON object: name of a case → largest error over what is allowed; or a text that says why the
interpreter itself does not work here.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

import torch

from qbench.quant.formats.affine import AffineWeight
from qbench.quant.kernels.cuda import triton_gemm
from qbench.quant.kernels.cuda.triton_gemm import prepare_zeros, run_dequant_gemm, run_gemm, run_gemv
from qbench.quant.layer.linear import QuantizedLinear
from tests.quant.layers import activations, affine

RUNS = {"gemv": run_gemv, "gemm": run_gemm, "dequant_gemm": run_dequant_gemm}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
ROUNDING = {"bf16": 2.0**-7, "fp16": 2.0**-11, "fp32": 2.0**-24}
"""How far storing a value moves it, relative: half a unit in the last place, a whole one if bits are cut."""
Case = tuple[str, str, int, AffineWeight, str, bool]
"""Name, kernel, rows, weight, dtype, bias."""


def cases() -> Iterator[Case]:
    """Every width × strategy × zero; then shapes, groups, rows and dtypes, each awkward in its own way."""
    turn = itertools.count()
    for bits in range(2, 9):
        for strategy in ("tensor", "channel", "group"):
            for zero in ("none", "integer", "float"):
                number = next(turn)
                kernel = tuple(RUNS)[(number + number // 9) % 3]
                dtype = tuple(DTYPES)[1 + number % 2 if kernel == "gemm" else number // 2 % 3]
                weight = made(10, 192, bits, strategy, zero, 64, dtype)
                yield f"{kernel}-{bits}-{strategy}-{zero}-{dtype}", kernel, 3, weight, dtype, number % 2 == 0
    for kernel, bits, columns in itertools.product(RUNS, (3, 4, 7), (8, 36, 64, 100, 200)):
        weight = made(5, columns, bits, "channel", "integer", 0, "fp16")
        yield f"{kernel}-{bits}-K{columns}", kernel, 2, weight, "fp16", False
    for kernel, group in itertools.product(RUNS, (2, 6, 16, 24, 32, 48, 96, 128, 192, 256)):
        weight = made(6, 768, 4, "group", "float", group, "fp32")
        yield f"{kernel}-group{group}", kernel, 1, weight, "fp32", True
    for rows, columns in itertools.product((1, 15, 16, 17, 33, 130), (64, 200)):
        weight = made(33, columns, 4, "group", "none", 8, "fp16")
        yield f"gemm-rows{rows}-K{columns}", "gemm", rows, weight, "fp16", True
    for rows, n in itertools.product((1, 5), (1, 3, 4, 9, 17)):
        weight = made(n, 72, 8, "channel", "integer", 0, "fp16")
        yield f"gemv-rows{rows}-N{n}", "gemv", rows, weight, "fp16", True


def made(n: int, k: int, bits: int, strategy: Any, zero: Any, group: int, dtype: str) -> AffineWeight:
    kind = DTYPES[dtype]
    found = affine(
        n,
        k,
        num_bits=bits,
        strategy=strategy,
        zero=zero,
        scale_dtype=kind,
        group_size=group or 32,
        seed=n * k,
    )
    if zero != "float" or found.zero is None:
        return found
    shifted = (found.zero * 3 - 2**bits).to(kind)  # HQQ's zeros lie anywhere, outside the codes too
    return AffineWeight(found.codes, found.scale, shifted, bits, found.group_size)


def error(case: Case) -> float:
    """Largest error of an output over what rounding can do: see `test_kernels.check`."""
    _, kernel, rows, weight, dtype, with_bias = case
    n, k = weight.codes.shape
    kind, unit = DTYPES[dtype], ROUNDING[dtype]
    bias = torch.linspace(-3, 3, n).to(kind) if with_bias else None
    layer = QuantizedLinear.from_weight(weight, bias, dtype=kind)
    x = activations(rows, k, kind, seed=rows)
    got = RUNS[kernel](layer, prepare_zeros(layer), x)
    assert (got.shape, got.dtype) == ((rows, n), kind)
    w = weight.dequantize().double()
    product = x.double() @ w.t()
    expected = product + (0 if bias is None else bias.double())
    size = x.double().abs() @ w.abs().t()
    allowed = 1.05 * unit * (product.abs() + expected.abs()) + 2.0**-22 * k**0.5 * size + 1e-7
    if kernel == "dequant_gemm" or (kernel == "gemm" and not exact_codes(weight)):
        allowed = allowed + unit * size
    return float(((got.double() - expected).abs() / allowed).max())


def exact_codes(weight: AffineWeight) -> bool:
    """Whether the tensor cores are handed integers, which a weight's rounding does not touch."""
    whole = weight.zero is None or not weight.zero.is_floating_point()
    return weight.group_size is None and whole


def broken() -> str | None:
    """Why the interpreter cannot run a loop: that of Triton 3.6 does not get along with numpy 2.4."""
    import numpy
    import triton
    import triton.language as tl

    @triton.jit
    def count(out: tl.tensor, N: tl.tensor) -> None:
        for place in range(N):
            tl.store(out + place, place)

    out = torch.zeros(3, dtype=torch.int32)
    try:
        count[(1,)](out, 3)
    except Exception as error:
        return f"the interpreter of Triton {triton.__version__} fails with numpy {numpy.__version__}: {error}"
    return None if out.tolist() == [0, 1, 2] else f"it counts {out.tolist()}"


def main() -> None:
    assert os.environ["TRITON_INTERPRET"] == "1"
    triton_gemm.DEQUANT_BYTES = 4096  # several stretches even of a small weight
    print(json.dumps(broken() or {case[0]: error(case) for case in cases()}))


if __name__ == "__main__":
    main()
