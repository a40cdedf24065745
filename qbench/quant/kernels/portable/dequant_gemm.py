"""Tiles of dequantized weight in a float GEMM: every integer format, on any device.

The weight is rounded once to the activation dtype, exactly as `AffineWeight.dequantize` does. The tile costs
O(N·K), the GEMM O(M·N·K). In bf16 compiled code fills the tiles where there is a compiler: the same values in
a fraction of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.kernels.base import native
from qbench.quant.kernels.base.kernel import WIDTHS, Choice, Kernel
from qbench.quant.kernels.base.spec import Operand
from qbench.quant.kernels.shared.activations import rounded_activations
from qbench.quant.kernels.shared.codes import stored_codes
from qbench.quant.kernels.shared.tiles import compiled, grouped, rows_of, subtract_zero, tiled_gemm


def prepare_any(layer: Operand) -> tuple[Tensor, ...]:
    """Tensors for `native.expand`: the dequantized weight; none where compiled code cannot fill tiles."""
    return native.describe(layer, exact=False) if compiled(layer) else ()


def run_any(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) → (M, N); every strategy, zero, width and dtype."""
    spec = layer.spec
    filled = bool(prepared) and x.dtype == torch.bfloat16
    zeros = None if filled else layer.zeros()
    # (q − z) is exact in any dtype where z is an integer, and its product with a scale of the same dtype is
    # rounded once: then the tile itself can be worked on. Elsewhere float32 comes first.
    in_place = spec.zero != "float" and layer.scale.dtype == x.dtype

    def fill(first: int, last: int, tile: Tensor) -> None:
        if filled:
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
        grouped(exact, spec.groups).mul_(rows_of(layer.scale, first, last).to(exact.dtype)[..., None])
        if exact is not tile:
            tile.copy_(exact)

    return tiled_gemm(layer, rounded_activations(layer, x), fill, layer.bias)


def _down_columns(layer: Operand, zeros: Tensor | None, first: int, last: int, codes: Tensor) -> None:
    """Turns float(stored codes) into (code − zero)·scale in place, for groups that run down the columns."""
    spec, size = layer.spec, int(layer.spec.group_size or 1)
    groups = torch.arange(first, last, device=codes.device).div_(size, rounding_mode="floor")
    if spec.num_bits == 8:
        codes.add_(spec.half)
    codes.sub_(spec.half if zeros is None else zeros[groups].to(codes.dtype))
    codes.mul_(layer.scale[groups].to(codes.dtype))


KERNELS = (
    Kernel(
        name="dequant_gemm",
        summary="weight dequantized by tiles into the activation dtype; float GEMM; runs everything",
        devices=("cpu", "cuda"), activations=("none", "dynamic", "static"), num_bits=WIDTHS,
        strategies=("tensor", "channel", "group", "group_axis0"), zeros=("none", "integer", "float"),
        dtypes=("bf16", "fp16", "fp32"), prepare=prepare_any, run=run_any,
        choices=(Choice(150, "runs every integer weight without outliers"),),
    ),
)  # fmt: skip
