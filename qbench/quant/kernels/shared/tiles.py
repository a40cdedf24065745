"""Float products from dequantized tiles of the weight, small enough to stay in the outer cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qbench.quant.kernels.base import native
from qbench.quant.kernels.base.machine import features
from qbench.quant.kernels.base.spec import Operand
from qbench.quant.kernels.shared.scratch import SCRATCH, tile_rows

Fill = Callable[[int, int, Tensor], object]
"""Writes rows first … last of the weight to a scratch tile (last − first, K)."""


def compiled(layer: Operand) -> bool:
    """True where compiled code can fill the tiles of this layer: bf16 on a CPU, whole vectors of columns."""
    if (
        layer.spec.strategy == "group_axis0"
        or layer.scale.device.type != "cpu"
        or layer.spec.in_features % native.WIDE
    ):
        return False
    return layer.spec.dtype == "bf16" and "native" in features("cpu")


def tiled_gemm(layer: Operand, x: Tensor, fill: Fill, bias: Tensor | None) -> Tensor:
    """x·Wᵀ + bias, (M, N), from tiles of W that `fill` writes."""
    spec = layer.spec
    n, k = spec.out_features, spec.in_features
    out = torch.empty(x.shape[0], n, dtype=x.dtype, device=x.device)
    step = tile_rows(n, k * x.element_size())
    for first in range(0, n, step):
        last = min(n, first + step)
        tile = SCRATCH.take("weight", (last - first, k), x.dtype, x.device)
        fill(first, last, tile)
        if bias is None:
            torch.mm(x, tile.t(), out=out[:, first:last])
        else:
            torch.addmm(bias[first:last].to(x.dtype), x, tile.t(), out=out[:, first:last])
    return out


def subtract_zero(layer: Operand, zeros: Tensor | None, first: int, last: int, codes: Tensor) -> None:
    """Turns float(stored codes) into code − zero in place; exact for integer zeros."""
    spec = layer.spec
    stored_offset = spec.half if spec.num_bits == 8 else 0
    if zeros is None:
        if stored_offset != spec.half:
            codes.sub_(spec.half)
        return
    if spec.zero == "float" and stored_offset:
        codes.add_(stored_offset)
        stored_offset = 0
    shift = (rows_of(zeros, first, last) - stored_offset).to(codes.dtype)
    grouped(codes, spec.groups).sub_(shift[..., None])


def rows_of(values: Tensor, first: int, last: int) -> Tensor:
    """Rows of a scale or zero; strategy tensor has one for all."""
    return values if values.shape[0] == 1 else values[first:last]


def grouped(weight: Tensor, groups: int) -> Tensor:
    return weight.view(weight.shape[0], groups, -1)
