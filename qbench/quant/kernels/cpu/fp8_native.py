"""Weights in 8-bit floats made bf16 in registers, in C; activations rounded to 8 bits first."""

from __future__ import annotations

from torch import Tensor

from qbench.quant.kernels.base import native
from qbench.quant.kernels.base.kernel import Choice, Kernel
from qbench.quant.kernels.base.spec import Operand
from qbench.quant.kernels.cpu.packed_native import prepare_packed, run_packed
from qbench.quant.kernels.shared.float8 import rounded_float8


def run_fp8_native(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x bf16 (M, K) → bf16 (M, N); both formats, every strategy."""
    return run_packed(layer, prepared, rounded_float8(layer, x))


KERNELS = (
    Kernel(
        name="fp8_native",
        summary="fp8 weights made bf16 in registers, in C; activations rounded to fp8; float32 sums",
        devices=("cpu",), codes=("e4m3", "e5m2"), activations=("none", "dynamic", "static"), num_bits=(8,),
        strategies=("tensor", "channel", "block"), zeros=("none",), dtypes=("bf16",), needs=("native",),
        prepare=prepare_packed, run=run_fp8_native,
        choices=(
            Choice(170, "as packed_native", ("bf16_gemm",), absent=("amx",), max_rows=128),
            Choice(180, "as packed_native", ("amx",), max_rows=8),
            Choice(190, "as packed_native; not measured", absent=("bf16_gemm",), max_rows=native.ROWS),
        ),
    ),
)  # fmt: skip
