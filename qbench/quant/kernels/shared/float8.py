"""Activations in 8-bit floats (E4M3): codes with their scales, or rounded and made float again."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.formats.fp8 import ACTIVATION_FORMAT, LARGEST, cast
from qbench.quant.kernels.base.spec import Operand
from qbench.quant.kernels.shared.activations import ROWS, SMALLEST_AMAX


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
