"""Weight-only int8 with one scale a row in C, float32 products and sums; for the fewest rows."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.kernels.base import native
from qbench.quant.kernels.base.kernel import Choice, Kernel
from qbench.quant.kernels.base.spec import Operand, channel_scale, held_codes


def prepare_native(layer: Operand) -> tuple[Tensor, ...]:
    """Channel scales float32 (N), and the bias as float32 (N) if any."""
    scale = channel_scale(layer)
    return (scale,) if layer.bias is None else (scale, layer.bias.to(torch.float32))


def run_native(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x bf16 or float32 (M, K) → (M, N), rounded once to its dtype. Reads W once for each ROWS rows."""
    scale, *bias = prepared
    wide = x.to(torch.float32)
    out = torch.empty(x.shape[0], layer.spec.out_features, dtype=x.dtype)
    for first in range(0, x.shape[0], native.ROWS):
        rows = slice(first, first + native.ROWS)
        native.int8_linear(wide[rows], held_codes(layer), scale, bias[0] if bias else None, out[rows])
    return out


KERNELS = (
    Kernel(
        name="int8_native",
        summary="weight-only int8 straight from the codes, in C, for the fewest rows",
        devices=("cpu",), activations=("none",), num_bits=(8,), strategies=("tensor", "channel"),
        zeros=("none",), dtypes=("bf16", "fp32"), needs=("native",), prepare=prepare_native, run=run_native,
        choices=(
            Choice(
                100,
                "float32 activations: up to its own four rows it takes what reading the weights takes",
                max_rows=native.ROWS,
            ),
        ),
    ),
)  # fmt: skip
