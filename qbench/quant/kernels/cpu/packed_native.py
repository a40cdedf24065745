"""Weight-only products in C, straight from packed codes of 2 to 8 bits; bf16 activations."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.kernels.base import native
from qbench.quant.kernels.base.kernel import WIDTHS, Choice, Kernel
from qbench.quant.kernels.base.spec import Operand, held_codes


def prepare_packed(layer: Operand) -> tuple[Tensor, ...]:
    """The description that `native` reads, the codes, and the tensors that the description points to."""
    described, *given = native.describe(layer, native.exact(layer))
    return (described, held_codes(layer), *given)


def run_packed(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x bf16 (M, K) → bf16 (M, N); every width, strategy and zero."""
    rows, columns = x.shape
    if columns % native.WIDE:
        x = torch.nn.functional.pad(x, (0, -columns % native.WIDE))
    out = torch.empty(rows, layer.spec.out_features, dtype=torch.bfloat16)
    native.packed_linear(prepared[0], prepared[1], x, out)
    return out


KERNELS = (
    Kernel(
        name="packed_native",
        summary="weight-only, straight from the packed codes, in C; bf16 weights in registers, float32 sums",
        devices=("cpu",), activations=("none",), num_bits=WIDTHS, strategies=("tensor", "channel", "group"),
        zeros=("none", "integer", "float"), dtypes=("bf16",), needs=("native",), prepare=prepare_packed,
        run=run_packed,
        choices=(
            # From 128 rows oneDNN's own blocking wins, and tiles are expanded for it.
            Choice(
                70, "Zen 5, one thread, beside bf16 F.linear at 4096 × 4096: 0.25 of its time at one row, "
                "0.7 at 16, 0.95 at 128", ("bf16_gemm",), absent=("amx",), max_rows=128,
            ),
            Choice(
                80, "AMX multiplies eight times as fast as the vectors used here: only where memory decides",
                ("amx",), max_rows=8,
            ),
            Choice(
                90, "without bf16 products in hardware it still reads the fewest bytes; not measured",
                absent=("bf16_gemm",), max_rows=native.ROWS,
            ),
        ),
    ),
)  # fmt: skip
