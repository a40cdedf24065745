"""8-bit floats: w ≈ c·s, with c one of the 256 codes of E4M3 or E5M2 (arXiv 2209.05433).

E4M3 has 3 bits of fraction and reaches 448, E5M2 has 2 and reaches 57344. A scale is amax over that largest
value, so that the largest weight of what shares it lands on it. Codes are rounded to nearest, ties to even,
and what rounding the scale pushes beyond the largest value is clamped before the cast: torch up to 2.11 casts
it to nan or inf.

Scales are float32 whatever the model's dtype: GPU kernels take no other, and they are few (32/K bits a weight
for a channel's, 0.002 for a block's).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from qbench.errors import MethodError
from qbench.quant.formats.affine import SLICE_WEIGHTS, stored_scale
from qbench.quant.formats.weight import Activations, PackedWeight, Strategy, wrong_input_scale

Format = Literal["e4m3", "e5m2"]

FORMATS: dict[str, torch.dtype] = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
LARGEST: dict[str, float] = {"e4m3": 448.0, "e5m2": 57344.0}
ACTIVATION_FORMAT: Format = "e4m3"
"""Format of activations for any weight: E5M2 times E5M2 has no GPU kernel, and a fraction bit less."""
BLOCK = 128
"""Rows and columns of a block; those at the edges may be smaller."""


@dataclass(frozen=True)
class Fp8Weight(PackedWeight):
    """A weight in 8-bit floats. `codes` is float8_e4m3fn or float8_e5m2; `scale` float32, (1, 1) for strategy
    tensor, (N, 1) for channel, (⌈N / block⌉, ⌈K / block⌉) for block."""

    block_size: int | None = None
    """Rows and columns that share a scale. None for tensor and channel."""
    activations: Activations = "none"
    """`dynamic`: E4M3 with a scale a token (row) at run time. `static`: with `input_scale` for all."""
    input_scale: Tensor | None = None
    """float32 (1, 1), for static activations."""

    @property
    def format(self) -> Format:
        return "e5m2" if self.codes.dtype == torch.float8_e5m2 else "e4m3"

    def why_invalid(self, shape: torch.Size) -> str | None:
        n, k = shape
        if self.codes.dtype not in FORMATS.values() or self.codes.shape != shape:
            return f"codes are {self.codes.dtype} {tuple(self.codes.shape)}, not float8 {(n, k)}"
        if not bool(self.codes.to(torch.float32).isfinite().all()):
            return "codes hold inf or nan"
        size = self.block_size
        fits = [(1, 1), (n, 1)] if size is None else [(-(-n // size), -(-k // size))]
        if tuple(self.scale.shape) not in fits or self.scale.dtype != torch.float32:
            return f"scale is {self.scale.dtype} {tuple(self.scale.shape)}, not float32 {fits[-1]}"
        if not bool(self.scale.isfinite().all()):
            return "scale holds inf or nan"
        return wrong_input_scale(self.activations, self.input_scale)

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """c·s, computed in float32, as (N, K) of `dtype`."""
        values = self.codes.to(torch.float32)
        return values.mul_(spread(self.scale, self.block_size, values.shape)).to(dtype)


def absmax_scale(weight: Tensor, strategy: Strategy, largest: float, name: str) -> Tensor:
    """amax / largest of what shares a scale, float32 as stored; 1 where all is zero."""
    if strategy == "tensor":
        amax = _amax(weight.reshape(1, -1), 1).view(1, 1)
    elif strategy == "channel":
        amax = _amax(weight, 1).view(-1, 1)
    elif strategy == "block":
        amax = torch.cat([_amax(strip, 0)[None] for strip in torch.split(weight, BLOCK)])
        missing = -weight.shape[1] % BLOCK
        amax = pad(amax, (0, missing)).view(amax.shape[0], -1, BLOCK).amax(2)
    else:
        raise MethodError(f"{name}: 8-bit floats take strategy tensor, channel or block, not {strategy}")
    exact = amax.to(torch.float32) / largest
    return stored_scale(torch.where(amax > 0, exact, 1.0), torch.float32)


def codes(weight: Tensor, scale: Tensor, block_size: int | None, fmt: Format) -> Tensor:
    """clamp(w / scale), rounded to the nearest code of the format (ties to even), (N, K)."""
    made = torch.empty(weight.shape, dtype=FORMATS[fmt], device=weight.device)
    step = BLOCK * max(1, SLICE_WEIGHTS // (BLOCK * weight.shape[1]))  # whole blocks, without a float copy
    for first in range(0, weight.shape[0], step):
        rows = weight[first : first + step]
        part = scale
        if block_size is not None:
            part = scale[first // block_size : -(-(first + len(rows)) // block_size)]
        elif len(scale) > 1:
            part = scale[first : first + len(rows)]
        made[first : first + step] = cast(rows / spread(part, block_size, rows.shape), fmt)
    return made


def cast(values: Tensor, fmt: Format) -> Tensor:
    """Float32 values as 8-bit floats, those beyond the largest as the largest; nan stays nan."""
    return values.clamp(-LARGEST[fmt], LARGEST[fmt]).to(FORMATS[fmt])


def spread(scale: Tensor, block_size: int | None, shape: torch.Size) -> Tensor:
    """Scales, starting at the first row of a weight or of some whole blocks of it, for every element: of a
    shape that broadcasts to `shape`."""
    if block_size is None:
        return scale
    wide = scale.repeat_interleave(block_size, 1)[:, : shape[1]]
    return wide.repeat_interleave(block_size, 0)[: shape[0]]


def _amax(weight: Tensor, dim: int) -> Tensor:
    low, high = weight.aminmax(dim=dim)  # not abs().amax(), which holds a second copy of the weight
    return torch.maximum(-low, high)
