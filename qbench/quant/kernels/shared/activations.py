"""Int8 activations: symmetric, dynamic with one scale a token (row), or static with one scale for all.

Dynamic: scale = max|x| / 127 in float32, code = round(x · (127 / max|x|)), ties to even, so −127 … 127. A row
of zeros gets a vanishing scale and codes 0. Static: the scale comes from the calibration text, and what lies
beyond 127 steps is clipped. Either way a row that holds an inf or a nan gets a scale that is not finite, so
that the damage shows in the output.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.kernels.base import native
from qbench.quant.kernels.base.spec import Operand
from qbench.quant.kernels.shared.scratch import SCRATCH

ROWS = 256
"""Rows handled at a time: large enough to feed the GEMM, small enough for the cache and the scratch."""

SMALLEST_AMAX = 1e-30


def quantized_rows(layer: Operand, x: Tensor, offset: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Codes + offset as `dtype`, (M, K), and scales float32 (M, 1), as the layer's format rounds its input.

    The codes stand in scratch that the next call overwrites. Callers hand over a block of rows that fits the
    cache: every pass below then runs from it.
    """
    if x.dtype == torch.bfloat16 and (offset, dtype) == (128, torch.uint8) and native.rounds():
        codes = SCRATCH.take("codes", (x.shape[0], x.shape[1]), torch.uint8, x.device)
        scales = torch.empty(x.shape[0], 1)
        native.round_rows(x, 0.0 if layer.input_scale is None else float(layer.input_scale), codes, scales)
        return codes, scales
    if layer.input_scale is None:
        return quantize_rows(x, offset, dtype)
    return quantize_static(x, layer.input_scale, offset, dtype)


def quantize_rows(x: Tensor, offset: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Codes + offset as `dtype`, (M, K), in scratch that the next call overwrites; scales float32 (M, 1)."""
    rows, columns = x.shape
    exact = SCRATCH.take("activations", (rows, columns), torch.float32, x.device)
    work = SCRATCH.take("magnitudes", (rows, columns), torch.float32, x.device)
    codes = SCRATCH.take("codes", (rows, columns), dtype, x.device)
    exact.copy_(x)
    amax = torch.abs(exact, out=work).amax(1, keepdim=True).clamp_(min=SMALLEST_AMAX)
    exact.mul_(127.0 / amax).round_()
    codes.copy_(exact.add_(offset) if offset else exact)
    return codes, amax.div_(127.0)


def quantize_static(x: Tensor, scale: Tensor, offset: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Codes + offset for one scale, float32 (1, 1), known ahead; the scales returned are that one, or nan."""
    rows, columns = x.shape
    exact = SCRATCH.take("activations", (rows, columns), torch.float32, x.device)
    codes = SCRATCH.take("codes", (rows, columns), dtype, x.device)
    exact.copy_(x)
    row_scale = exact.sum(1, keepdim=True).mul_(0).add_(scale)  # clipping would make a number of inf or nan
    exact.mul_(scale.reciprocal()).round_().clamp_(-127, 127)
    codes.copy_(exact.add_(offset) if offset else exact)
    return codes, row_scale


def rounded_activations(layer: Operand, x: Tensor) -> Tensor:
    """x after the layer's own rounding of activations, dequantized into its dtype; x where it has none."""
    if layer.spec.activations == "none":
        return x
    result = torch.empty_like(x)
    for first in range(0, x.shape[0], ROWS):
        codes, scale = quantized_rows(layer, x[first : first + ROWS], 0, torch.float32)
        result[first : first + ROWS] = codes.mul_(scale)
    return result
