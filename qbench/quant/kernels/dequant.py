"""Kernels that dequantize a tile of the weight into scratch and let the float GEMM do the rest.

They run everything that can be stored, on any device, and are the fastest there is for weight-only int8
from a few dozen rows on: the tile costs O(N·K), the GEMM O(M·N·K).

- `run_channel`: one scale a row. Code minus zero is an integer below 2^8, exact in bf16 and float32, so the
  GEMM sees exact weights, accumulates in float32, and the scale is applied to its output.
- `run_any`: the weight is rounded once to the activation dtype, exactly as `AffineWeight.dequantize` does.

In bf16 compiled code fills the tiles where there is a compiler: the same values in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qbench.quant.formats.packing import unpack
from qbench.quant.kernels import native
from qbench.quant.kernels.activations import rounded_activations
from qbench.quant.kernels.machine import features
from qbench.quant.kernels.output import scale_columns
from qbench.quant.kernels.scratch import SCRATCH, tile_rows
from qbench.quant.kernels.spec import Operand

Fill = Callable[[int, int, Tensor], object]
"""Writes rows first … last of the weight to a scratch tile (last − first, K)."""


def prepare_tiles(layer: Operand) -> tuple[Tensor, ...]:
    """For `native.expand`: weights that a bf16 tile holds exactly where that can be, else rounded ones."""
    return native.prepare_packed(layer) if _compiled(layer) else ()


def prepare_channel(layer: Operand) -> tuple[Tensor, ...]:
    """For `native.expand`: codes minus zero; nothing where compiled code cannot fill the tiles."""
    return native.describe(layer, exact=True) if _compiled(layer) else ()


def prepare_any(layer: Operand) -> tuple[Tensor, ...]:
    """For `native.expand`: the dequantized weight; nothing where compiled code cannot fill the tiles."""
    return native.describe(layer, exact=False) if _compiled(layer) else ()


def _compiled(layer: Operand) -> bool:
    if (
        layer.spec.strategy == "group_axis0"
        or layer.scale.device.type != "cpu"
        or layer.spec.in_features % native.WIDE
    ):
        return False
    return layer.spec.dtype == "bf16" and "native" in features("cpu")


def run_channel(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) → (M, N); strategies tensor and channel, symmetric or integer zero, bf16 or float32."""
    compiled = bool(prepared) and x.dtype == torch.bfloat16
    zeros = None if compiled else layer.zeros()

    def fill(first: int, last: int, tile: Tensor) -> None:
        if compiled:
            native.expand(layer, prepared[0], first, last, tile)
            return
        tile.copy_(stored_codes(layer, first, last))
        subtract_zero(layer, zeros, first, last, tile)

    out = tiled_gemm(layer, rounded_activations(layer, x), fill, None)
    return scale_columns(out, layer.scale.view(1, -1), layer.bias)


def run_any(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) → (M, N); every strategy, zero, width and dtype."""
    spec = layer.spec
    compiled = bool(prepared) and x.dtype == torch.bfloat16
    zeros = None if compiled else layer.zeros()
    # (q − z) is exact in any dtype where z is an integer, and its product with a scale of the same dtype is
    # rounded once: then the tile itself can be worked on. Elsewhere float32 comes first.
    in_place = spec.zero != "float" and layer.scale.dtype == x.dtype

    def fill(first: int, last: int, tile: Tensor) -> None:
        if compiled:
            native.expand(layer, prepared[0], first, last, tile)
            return
        exact = tile if in_place else torch.empty_like(tile, dtype=torch.float32)
        exact.copy_(stored_codes(layer, first, last))
        if spec.strategy == "group_axis0":
            _down_columns(layer, zeros, first, last, exact)
            if exact is not tile:
                tile.copy_(exact)
            return
        subtract_zero(layer, zeros, first, last, exact)
        _grouped(exact, spec.groups).mul_(_rows(layer.scale, first, last).to(exact.dtype)[..., None])
        if exact is not tile:
            tile.copy_(exact)

    return tiled_gemm(layer, rounded_activations(layer, x), fill, layer.bias)


def stored_codes(layer: Operand, first: int, last: int) -> Tensor:
    """Rows of the codes: int8, code − 128, for 8 bits; else uint8. (last − first, K)."""
    if layer.codes is None:
        raise AssertionError("a kernel that needs the codes ran while another one holds them")
    rows = layer.codes[first:last]
    return rows if layer.spec.num_bits == 8 else unpack(rows, layer.spec.num_bits, layer.spec.in_features)


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
    shift = (_rows(zeros, first, last) - stored_offset).to(codes.dtype)
    _grouped(codes, spec.groups).sub_(shift[..., None])


def _down_columns(layer: Operand, zeros: Tensor | None, first: int, last: int, codes: Tensor) -> None:
    """Turns float(stored codes) into (code − zero)·scale in place, for groups that run down the columns."""
    spec, size = layer.spec, int(layer.spec.group_size or 1)
    groups = torch.arange(first, last, device=codes.device).div_(size, rounding_mode="floor")
    if spec.num_bits == 8:
        codes.add_(spec.half)
    codes.sub_(spec.half if zeros is None else zeros[groups].to(codes.dtype))
    codes.mul_(layer.scale[groups].to(codes.dtype))


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


def _rows(values: Tensor, first: int, last: int) -> Tensor:
    """Rows of a scale or zero; strategy tensor has one for all."""
    return values if values.shape[0] == 1 else values[first:last]


def _grouped(weight: Tensor, groups: int) -> Tensor:
    return weight.view(weight.shape[0], groups, -1)
