"""Last step of a kernel that multiplied integer codes: scales, zero correction and bias, in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.kernels.base import native

ROWS = 128
"""Rows handled at a time, so that the float32 values never leave the cache."""


def scale_columns(out: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """out · scale (one a column, (1, N) or (1, 1)) + bias in place; computed in float32, rounded once."""
    if bias is None and scale.dtype == out.dtype:
        return out.mul_(scale)
    scale = scale.to(torch.float32)
    for first in range(0, out.shape[0], ROWS):
        rows = out[first : first + ROWS]
        exact = rows.to(torch.float32).mul_(scale)
        rows.copy_(exact if bias is None else exact.add_(bias))
    return out


def finish_rows(
    products: Tensor,
    row_scale: Tensor,
    row_sums: Tensor | None,
    zero: Tensor | None,
    bias: Tensor | None,
    out: Tensor,
) -> None:
    """Writes (products − row_sums ⊗ zero) · row_scale + bias to `out`, (M, N).

    `products` is float32 (M, N), overwritten: Σ x_code·w_code, times the channel scale. `row_sums` is
    float32 (M,), Σ x_code; `zero` float32 (N,), times the channel scale too: the part of an asymmetric
    weight that the GEMM left out. `row_scale` is float32 (M, 1).
    """
    compiled = out.dtype == torch.bfloat16 and out.device.type == "cpu" and native.rounds()
    if compiled and out.is_contiguous() and products.is_contiguous():
        added = None if bias is None else bias.to(torch.float32)
        native.finish_rows(products, row_scale, row_sums, None if row_sums is None else zero, added, out)
        return
    if row_sums is not None and zero is not None:
        products.addr_(row_sums, zero, alpha=-1)
    products.mul_(row_scale)
    if bias is not None:
        products.add_(bias)
    out.copy_(products)
