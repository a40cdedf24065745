"""Random quantized weights for the tests of layer and kernels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from qbench.quant.formats.affine import AffineWeight
from qbench.quant.formats.weight import Activations, Strategy

ZeroKind = Literal["none", "integer", "float"]

INPUT_SCALE = 8.0 / 127
"""Of static activations here: some of those below reach past 8 and are clipped."""


def affine(
    n: int,
    k: int,
    *,
    num_bits: int = 8,
    strategy: Strategy = "channel",
    zero: ZeroKind = "none",
    scale_dtype: torch.dtype = torch.float32,
    activations: Activations = "none",
    group_size: int = 32,
    seed: int = 0,
) -> AffineWeight:
    """Codes over the whole range, scales within a factor of two, zeros anywhere a code can be."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 2**num_bits, (n, k), dtype=torch.uint8, generator=generator)
    if strategy == "group_axis0":
        group_size = group_size if n % group_size == 0 else n
    shape = {
        "tensor": (1, 1),
        "channel": (n, 1),
        "group": (n, k // group_size),
        "group_axis0": (n // group_size, k),
    }[strategy]
    scale = ((torch.rand(shape, generator=generator) + 1) / 2 ** (num_bits + 3)).to(scale_dtype)
    zeros: Tensor | None = None
    if zero != "none":
        zeros = torch.rand(shape, generator=generator) * (2**num_bits - 1)
        zeros = zeros.round().to(torch.uint8) if zero == "integer" else zeros
    size = group_size if strategy in ("group", "group_axis0") else None
    axis: Literal[0, 1] = 0 if strategy == "group_axis0" else 1
    step = torch.full((1, 1), INPUT_SCALE) if activations == "static" else None
    return AffineWeight(codes, scale, zeros, num_bits, size, activations, input_scale=step, axis=axis)


def activations(rows: int, k: int, dtype: torch.dtype, seed: int = 1) -> Tensor:
    """Rows of very different magnitude, so that a scale per row and one per tensor differ."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, k, generator=generator) * (torch.rand(rows, 1, generator=generator) * 8 + 0.01)
    return x.to(dtype)
