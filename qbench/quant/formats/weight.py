"""`PackedWeight`: the base of every format of a quantized weight.

A method returns one, `QuantizedLinear` stores it, and neither asks which format it is. A format is a frozen
dataclass: `AffineWeight` (integer codes), `Fp8Weight` (8-bit floats).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Strategy = Literal["tensor", "channel", "group", "block", "group_axis0"]
"""Weights that share a scale: all, an output row, some inputs of a row, or a square of the weight."""

Activations = Literal["none", "dynamic", "static"]


@dataclass(frozen=True)
class PackedWeight(ABC):
    """Codes of one weight of N rows (output features) and K columns (input features), and their scales."""

    codes: Tensor
    """(N, K), one element a code; the dtype is the format's."""
    scale: Tensor
    """Float, two-dimensional. Its dtype is the one that is stored; codes follow the rounded values."""

    @abstractmethod
    def why_invalid(self, shape: torch.Size) -> str | None:
        """The first contradiction to this class's promises for a weight of that shape, or None."""

    @abstractmethod
    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The float weight that this one stands for, computed in float32, as (N, K) of `dtype`."""

    def collapsed(self) -> bool:
        """True where every code is the same, which only a constant weight may have."""
        first = self.codes.contiguous().view(torch.uint8).view(-1)
        return bool((first == first[0]).all())


def wrong_input_scale(activations: Activations, scale: Tensor | None) -> str | None:
    """The first defect of the scale of static activations (float32, (1, 1), above 0), or None."""
    if scale is None:
        return "activations are static and have no input_scale" if activations == "static" else None
    if activations != "static":
        return f"activations are {activations} and take no input_scale"
    if scale.dtype != torch.float32 or scale.shape != (1, 1):
        return f"input_scale is {scale.dtype} {tuple(scale.shape)}, not float32 (1, 1)"
    value = float(scale)
    return None if 0 < value < float("inf") else f"input_scale is {value}"
