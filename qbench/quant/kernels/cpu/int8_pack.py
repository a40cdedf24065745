"""Weight-only int8 through `_weight_int8pack_mm`, for few rows.

It reads one byte a weight, so that a decode step takes less than half the time of bf16; its cost grows with
every few rows. Activations other than bf16 would run a scalar reference, slower than the float GEMM; a K that
is no multiple of 16 puts rows off a vector's boundary and crashes (seen with torch 2.13).
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.kernels.base.kernel import Choice, Kernel
from qbench.quant.kernels.base.spec import Operand
from qbench.quant.kernels.shared.codes import aligned, stored_codes
from qbench.quant.kernels.shared.output import scale_columns


def prepare_pack(layer: Operand) -> tuple[Tensor, ...]:
    """The scale that the kernel applies itself: the layer's where bf16 holds it exactly, else ones."""
    n = layer.spec.out_features
    if layer.scale.dtype == torch.bfloat16:
        return (layer.scale.view(-1).expand(n).contiguous(),)
    return (torch.ones(n, dtype=torch.bfloat16, device=layer.scale.device),)


def run_pack(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x bf16 (M, K) → bf16 (M, N); 8 bits, symmetric, strategies tensor and channel."""
    codes = aligned(stored_codes(layer, 0, layer.spec.out_features))
    out = torch._weight_int8pack_mm(aligned(x), codes, prepared[0])
    if layer.scale.dtype == torch.bfloat16:
        return out if layer.bias is None else out.add_(layer.bias)
    return scale_columns(out, layer.scale.view(1, -1), layer.bias)


KERNELS = (
    Kernel(
        name="int8_pack",
        summary="weight-only int8 straight from the codes, for few rows",
        devices=("cpu",), activations=("none",), num_bits=(8,), strategies=("tensor", "channel"),
        zeros=("none",), dtypes=("bf16",), in_multiple=16, prepare=prepare_pack, run=run_pack,
        choices=(
            Choice(110, "AMX: 0.42 ms + 0.17 a row meets 0.6 ms + the bf16 GEMM", ("amx",), max_rows=8),
            Choice(120, "Zen 5: it meets the bf16 GEMM there", ("bf16_gemm",), absent=("amx",), max_rows=12),
            Choice(
                130, "half the time of a bf16 GEMM in software, at every row count", absent=("bf16_gemm",)
            ),
        ),
    ),
)  # fmt: skip
