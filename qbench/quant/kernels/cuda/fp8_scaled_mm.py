"""fp8 × fp8 on a GPU's tensor cores, `torch._scaled_mm` (compute capability 8.9).

One scale on either side is the GEMM's own; otherwise a scale a token and a channel, both float32, and the
output is bf16. The weight is handed over as its transpose, which is column-major as the GEMM requires.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from qbench.quant.kernels.base.kernel import Choice, Kernel
from qbench.quant.kernels.base.spec import Operand, held_codes
from qbench.quant.kernels.shared.float8 import float8_rows

LEAST_ROWS = 32
"""A decode step is padded to these: the GEMM's tiles are no smaller."""


def prepare_scaled_mm(layer: Operand) -> tuple[Tensor, ...]:
    """The weight's scale: (1, 1) where activations have one scale too, else (1, N)."""
    if layer.scale.numel() == 1 and layer.input_scale is not None:
        return (layer.scale,)
    return (layer.scale.view(1, -1).expand(1, layer.spec.out_features).contiguous(),)


def run_scaled_mm(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x bf16 (M, K) → bf16 (M, N); E4M3, strategies tensor and channel, rounded activations."""
    (scale,) = prepared
    rows = x.shape[0]
    codes, row_scale = float8_rows(layer, x)
    missing = max(0, LEAST_ROWS - rows)
    if missing:
        codes = pad(codes.view(torch.uint8), (0, 0, 0, missing)).view(codes.dtype)
    if layer.input_scale is None:
        row_scale = pad(row_scale, (0, 0, 0, missing), value=1.0)
    elif scale.numel() > 1:
        row_scale = row_scale.expand(rows + missing, 1).contiguous()
    out = torch._scaled_mm(
        codes, held_codes(layer).t(), scale_a=row_scale, scale_b=scale, out_dtype=torch.bfloat16
    )[:rows]
    return out if layer.bias is None else out + layer.bias


KERNELS = (
    Kernel(
        name="fp8_scaled_mm",
        summary="fp8 × fp8 on tensor cores, torch._scaled_mm",
        devices=("cuda",),
        codes=("e4m3",),  # a scale a token refuses an E5M2 weight
        activations=("dynamic", "static"),
        num_bits=(8,), strategies=("tensor", "channel"), zeros=("none",), dtypes=("bf16",),
        cuda_capability=(8, 9), in_multiple=16, out_multiple=16, prepare=prepare_scaled_mm, run=run_scaled_mm,
        choices=(Choice(160, "the only fp8 product of tensor cores here; not measured"),),
    ),
)  # fmt: skip
