"""Dynamic int8 activations: symmetric, one scale a token (row).

scale = max|x| / 127 in float32, code = round(x · (127 / max|x|)), ties to even, so −127 … 127. A row of zeros
gets a vanishing scale and codes 0; a row that holds an inf or a nan gets a scale that is not finite, so that
the damage shows in the output.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.kernels.scratch import SCRATCH

ROWS = 256
"""Rows handled at a time: large enough to feed the GEMM, small enough for the cache and the scratch."""

SMALLEST_AMAX = 1e-30


def quantize_rows(x: Tensor, offset: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Codes + offset as `dtype`, (M, K), in scratch that the next call overwrites; scales float32 (M, 1).

    Callers hand over a block of rows that fits the cache: every pass below then runs from it.
    """
    rows, columns = x.shape
    exact = SCRATCH.take("activations", (rows, columns), torch.float32, x.device)
    work = SCRATCH.take("magnitudes", (rows, columns), torch.float32, x.device)
    codes = SCRATCH.take("codes", (rows, columns), dtype, x.device)
    exact.copy_(x)
    amax = torch.abs(exact, out=work).amax(1, keepdim=True).clamp_(min=SMALLEST_AMAX)
    exact.mul_(127.0 / amax).round_()
    codes.copy_(exact.add_(offset) if offset else exact)
    return codes, amax.div_(127.0)


def fake_quantize_rows(x: Tensor) -> Tensor:
    """Activations after dynamic int8 quantization, dequantized into their own dtype."""
    result = torch.empty_like(x)
    for first in range(0, x.shape[0], ROWS):
        codes, scale = quantize_rows(x[first : first + ROWS], 0, torch.float32)
        result[first : first + ROWS] = codes.mul_(scale)
    return result
