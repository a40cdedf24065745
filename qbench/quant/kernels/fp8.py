"""Kernels for weights in 8-bit floats.

- `run_scaled_mm`: the codes themselves on a GPU's tensor cores, `torch._scaled_mm` (compute capability 8.9).
  One scale on either side is the GEMM's own; otherwise a scale a token and a channel, both float32, and the
  output is bf16. The weight is handed over as its transpose, which is column-major as the GEMM wants it.
- `run_fp8_native`: compiled code for a CPU, weights straight from the codes, for up to some hundred rows.
- `run_fp8_dequant`: tiles of the weight made float, and a float GEMM; any device.

In both of the latter activations are rounded to 8 bits and made float again, so that the result is the
method's: a CPU has no products of 8-bit floats, and torch's `_scaled_mm` is emulated there, far slower.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from qbench.quant.formats.fp8 import ACTIVATION_FORMAT, LARGEST, cast, spread
from qbench.quant.kernels import native
from qbench.quant.kernels.activations import ROWS, SMALLEST_AMAX
from qbench.quant.kernels.dequant import prepare_tiles, tiled_gemm
from qbench.quant.kernels.kernel import Kernel
from qbench.quant.kernels.output import scale_columns
from qbench.quant.kernels.spec import Operand

LEAST_ROWS = 32
"""A decode step is padded to these: the GEMM's tiles are no smaller."""

WIDER = {torch.bfloat16: (torch.int16, 16, 7), torch.float32: (torch.int32, 32, 23)}
"""Of floats with the exponent's bias 127: integers of their size, bits, bits of fraction."""
FRACTION_AND_BIAS = {torch.float8_e4m3fn: (3, 7), torch.float8_e5m2: (2, 15)}


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
        codes, float8_codes(layer).t(), scale_a=row_scale, scale_b=scale, out_dtype=torch.bfloat16
    )[:rows]
    return out if layer.bias is None else out + layer.bias


def run_fp8_native(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x bf16 (M, K) → bf16 (M, N); both formats, every strategy."""
    return native.run_packed(layer, prepared, rounded_float8(layer, x))


def run_fp8_dequant(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) → (M, N); both formats, every strategy and dtype."""
    spec, stored = layer.spec, float8_codes(layer)
    compiled = bool(prepared) and x.dtype == torch.bfloat16
    # A code is exact in bf16 and float32, and a row's scale can wait for the output; float16 would overflow.
    late = spec.strategy != "block" and x.dtype != torch.float16

    def fill(first: int, last: int, tile: Tensor) -> None:
        if compiled:
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


def float8_codes(layer: Operand) -> Tensor:
    """The stored codes, (N, K)."""
    if layer.codes is None:
        raise AssertionError("a kernel that needs the codes ran while another one holds them")
    return layer.codes


def float8_rows(layer: Operand, x: Tensor) -> tuple[Tensor, Tensor]:
    """E4M3 codes (M, K) and scales float32: the layer's own (1, 1), or each row's largest over 448, (M, 1).

    A row that holds an inf or a nan becomes nan: clipping alone would make a number of an inf.
    """
    largest = LARGEST[ACTIVATION_FORMAT]
    exact = x.to(torch.float32)
    scale = layer.input_scale
    if scale is None:
        scale = exact.abs().amax(1, keepdim=True).clamp_(min=SMALLEST_AMAX).div_(largest)
    broken = exact.sum(1, keepdim=True).mul_(0)
    return cast((exact / scale).add_(broken), ACTIVATION_FORMAT), scale


def rounded_float8(layer: Operand, x: Tensor) -> Tensor:
    """x after the layer's rounding of activations to E4M3, in its own dtype; x where it has none."""
    if layer.spec.activations == "none":
        return x
    result = torch.empty_like(x)
    for first in range(0, x.shape[0], ROWS):
        codes, scale = float8_rows(layer, x[first : first + ROWS])
        result[first : first + ROWS] = codes.to(torch.float32).mul_(scale)
    return result


def _rows(layer: Operand, first: int, last: int) -> Tensor:
    """Scales of rows first … last for every element of them."""
    spec, scale = layer.spec, layer.scale
    shape = torch.Size((last - first, spec.in_features))
    if spec.strategy != "block":
        return scale if scale.shape[0] == 1 else scale[first:last]
    size = int(spec.group_size or 0)
    whole = torch.Size((shape[0] + first % size, shape[1]))
    return spread(scale[first // size :], size, whole)[first % size :]


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        name="fp8_scaled_mm",
        summary="fp8 × fp8 on tensor cores, torch._scaled_mm",
        devices=("cuda",),
        codes=("e4m3",),  # a scale a token refuses an E5M2 weight
        activations=("dynamic", "static"),
        num_bits=(8,),
        strategies=("tensor", "channel"),
        zeros=("none",),
        dtypes=("bf16",),
        cuda_capability=(8, 9),
        in_multiple=16,
        out_multiple=16,
        prepare=prepare_scaled_mm,
        run=run_scaled_mm,
    ),
    Kernel(
        name="fp8_native",
        summary="fp8 weights made bf16 in registers, in C; activations rounded to fp8; float32 sums",
        devices=("cpu",),
        codes=("e4m3", "e5m2"),
        activations=("none", "dynamic", "static"),
        num_bits=(8,),
        strategies=("tensor", "channel", "block"),
        zeros=("none",),
        dtypes=("bf16",),
        needs=("native",),
        prepare=native.prepare_packed,
        run=run_fp8_native,
    ),
    Kernel(
        name="fp8_dequant_gemm",
        summary="fp8 made float by tiles, activations rounded to fp8 and made float too; float GEMM",
        devices=("cpu", "cuda"),
        codes=("e4m3", "e5m2"),
        activations=("none", "dynamic", "static"),
        num_bits=(8,),
        strategies=("tensor", "channel", "block"),
        zeros=("none",),
        dtypes=("bf16", "fp16", "fp32"),
        prepare=prepare_tiles,
        run=run_fp8_dequant,
    ),
)
