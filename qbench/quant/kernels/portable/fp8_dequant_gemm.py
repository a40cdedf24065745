"""Weights in 8-bit floats by tiles of float weight and a float GEMM, on any device.

Activations are rounded to 8 bits and made float again, so that the result is the method's: a CPU has no
products of 8-bit floats, and torch's `_scaled_mm` is emulated there, far slower.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.formats.fp8 import spread
from qbench.quant.kernels.base import native
from qbench.quant.kernels.base.kernel import Choice, Kernel
from qbench.quant.kernels.base.spec import Operand, held_codes
from qbench.quant.kernels.cpu.packed_native import prepare_packed
from qbench.quant.kernels.shared.float8 import rounded_float8
from qbench.quant.kernels.shared.output import scale_columns
from qbench.quant.kernels.shared.tiles import compiled, tiled_gemm

WIDER = {torch.bfloat16: (torch.int16, 16, 7), torch.float32: (torch.int32, 32, 23)}
"""Floats with the exponent's bias 127 → integers of their size, bits, bits of fraction."""
FRACTION_AND_BIAS = {torch.float8_e4m3fn: (3, 7), torch.float8_e5m2: (2, 15)}


def prepare_tiles(layer: Operand) -> tuple[Tensor, ...]:
    """Tensors for `native.expand`: weights that bf16 holds exactly where possible, else rounded ones."""
    return prepare_packed(layer) if compiled(layer) else ()


def run_fp8_dequant(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) → (M, N); both formats, every strategy and dtype."""
    spec, stored = layer.spec, held_codes(layer)
    filled = bool(prepared) and x.dtype == torch.bfloat16
    # A code is exact in bf16 and float32, and a row's scale can wait for the output; float16 would overflow.
    late = spec.strategy != "block" and x.dtype != torch.float16

    def fill(first: int, last: int, tile: Tensor) -> None:
        if filled:
            native.expand(layer, prepared[0], first, last, tile)
        elif late:
            widen(stored[first:last], tile)
        else:
            tile.copy_(stored[first:last].to(torch.float32).mul_(_rows(layer, first, last)))

    rounded = rounded_float8(layer, x)
    if not late:
        return tiled_gemm(layer, rounded, fill, layer.bias)
    return scale_columns(tiled_gemm(layer, rounded, fill, None), layer.scale.view(1, -1), layer.bias)


def widen(codes: Tensor, tile: Tensor) -> None:
    """Copies finite codes into a contiguous bf16 or float32 tile, exactly.

    A CPU copies E4M3 code by code, in seven times of what this takes: the seven bits of exponent and fraction
    move to where the wider float has them, the sign to the top, and a product puts the exponent's bias right.
    """
    if tile.device.type != "cpu":
        tile.copy_(codes)
        return
    integers, width, fraction = WIDER[tile.dtype]
    narrow, bias = FRACTION_AND_BIAS[codes.dtype]
    bits = tile.view(integers)
    bits.copy_(codes.view(torch.int8))  # fills the upper bits with the sign
    shift = fraction - narrow
    bits.bitwise_left_shift_(shift).bitwise_and_(-(2 ** (width - 1)) + (0x7F << shift))
    tile.mul_(2.0 ** (127 - bias))


def _rows(layer: Operand, first: int, last: int) -> Tensor:
    """Scales of rows first … last for every element of them."""
    spec, scale = layer.spec, layer.scale
    shape = torch.Size((last - first, spec.in_features))
    if spec.strategy != "block":
        return scale if scale.shape[0] == 1 else scale[first:last]
    size = int(spec.group_size or 0)
    whole = torch.Size((shape[0] + first % size, shape[1]))
    return spread(scale[first // size :], size, whole)[first % size :]


KERNELS = (
    Kernel(
        name="fp8_dequant_gemm",
        summary="fp8 made float by tiles, activations rounded to fp8 and made float too; float GEMM",
        devices=("cpu", "cuda"), codes=("e4m3", "e5m2"), activations=("none", "dynamic", "static"),
        num_bits=(8,), strategies=("tensor", "channel", "block"), zeros=("none",),
        dtypes=("bf16", "fp16", "fp32"), prepare=prepare_tiles, run=run_fp8_dequant,
        choices=(Choice(200, "runs every fp8 weight"),),
    ),
)  # fmt: skip
