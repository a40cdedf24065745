"""Affine integer quantization: w ≈ (q − z)·s, with q an unsigned integer of `num_bits` bits.

The definitions that differ between libraries are explicit arguments here and parameters in the methods:

- symmetric scale (`absmax_scale`): `restricted` = amax/(2^(b−1)−1), codes −(2^(b−1)−1)…2^(b−1)−1
  (bitsandbytes, SmoothQuant, quanto); `full` = 2·amax/(2^b−1), codes −2^(b−1)…2^(b−1)−1, which clips +amax
  by half a step (GPTQ, torchao, compressed-tensors).
- asymmetric range (`minmax_scale_zero`): zero forced into the range (GPTQ, torchao, compressed-tensors) or
  the raw minimum and maximum (HQQ, AWQ, tinygemm); zero an integer code or a float.

Scales are rounded to the dtype in which they are stored (`stored_scale`) and codes are computed from the
rounded ones, so that w ≈ (q − z)·s holds for exactly what lies in memory. Codes are stored unsigned; a
symmetric code c stands as q = c + 2^(b−1) and has the implied zero 2^(b−1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from qbench.errors import MethodError
from qbench.quant.formats.outliers import Outliers
from qbench.quant.formats.weight import Activations, PackedWeight, Strategy, wrong_input_scale

SLICE_WEIGHTS = 2**20
"""Weights that are rounded at a time; 4 MiB in float32, which a core's cache nearly holds."""


@dataclass(frozen=True)
class AffineWeight(PackedWeight):
    """Codes of one weight of N rows (output features) and K columns (input features)."""

    codes: Tensor
    """uint8, (N, K), each in 0 … 2^num_bits − 1."""
    scale: Tensor
    """Float, (1, 1) for strategy tensor, (N, 1) for channel, (N, K / group_size) for group. Its dtype is
    the dtype that is stored; codes were computed from this rounded value."""
    zero: Tensor | None
    """None: symmetric. uint8: an integer code. Float: a zero in units of codes. Shape as `scale`."""
    num_bits: int
    group_size: int | None = None
    """None for tensor and channel."""
    activations: Activations = "none"
    """`dynamic`: activations become int8, symmetric, one scale a token (row), at run time. `static`: the
    same with `input_scale` for all."""
    axis: Literal[0, 1] = 1
    """1: a group is `group_size` inputs of a row. 0: so many rows of a column, scale (N / group_size, K)."""
    permutation: Tensor | None = None
    """int32 (K): column j of the codes is input feature permutation[j], for groups that do not lie side by
    side (GPTQ's act-order without static groups). None: in order."""
    input_scale: Tensor | None = None
    """float32 (1, 1): value of one step of static int8 activations. None for the others."""
    outliers: Outliers | None = None
    """Columns that are multiplied in the activations' dtype; needs dynamic activations. None: no such."""

    def why_invalid(self, shape: torch.Size) -> str | None:
        """The first contradiction to this class's promises for a weight of that shape, or None."""
        n, k = shape
        if self.codes.dtype != torch.uint8 or self.codes.shape != shape:
            return f"codes are {self.codes.dtype} {tuple(self.codes.shape)}, not uint8 {(n, k)}"
        if int(self.codes.max()) >= 2**self.num_bits:
            return f"a code is {int(self.codes.max())}, beyond {self.num_bits} bits"
        if self.permutation is not None and not _is_permutation(self.permutation, k):
            return f"permutation is no int32 order of {k} columns"
        if self.outliers is not None and (self.activations != "dynamic" or self.permutation is not None):
            return "outlier columns need dynamic activations and columns in order"
        wrong = wrong_input_scale(self.activations, self.input_scale) or self._wrong_scale(n, k)
        return wrong or (None if self.outliers is None else self.outliers.why_invalid(shape))

    def collapsed(self) -> bool:
        kept = self.outliers is not None and self.outliers.columns is not None
        return not kept and super().collapsed()

    def _wrong_scale(self, n: int, k: int) -> str | None:
        """The first defect of scale or zero, or None."""
        fits: list[tuple[float, float]] = [(n, 1), (1, 1)]
        if self.group_size is not None:
            fits = [(n, k / self.group_size) if self.axis == 1 else (n / self.group_size, k)]
        if tuple(self.scale.shape) not in fits:
            return f"scale is {tuple(self.scale.shape)}, not ({fits[0][0]:g}, {fits[0][1]:g})"
        if not (self.scale.is_floating_point() and bool(self.scale.isfinite().all())):
            return f"scale is {self.scale.dtype}, or holds inf or nan"
        if self.zero is None:
            return None
        if self.zero.shape != self.scale.shape:
            return f"zero is {tuple(self.zero.shape)}, scale is {tuple(self.scale.shape)}"
        if self.zero.is_floating_point():
            return None if bool(self.zero.isfinite().all()) else "zero holds inf or nan"
        if self.zero.dtype != torch.uint8 or int(self.zero.max()) >= 2**self.num_bits:
            return (
                f"zero is {self.zero.dtype} up to {int(self.zero.max())}, not a code of {self.num_bits} bits"
            )
        return None

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """(q − z)·s, computed in float32, as (N, K) of `dtype`."""
        n, k = self.codes.shape
        down = self.axis == 0 and self.group_size is not None
        shape, place = ((self.scale.shape[0], -1, k), 1) if down else ((n, self.scale.shape[1], -1), 2)
        values = self.codes.to(torch.float32).view(shape)
        middle = 2.0 ** (self.num_bits - 1)
        values -= middle if self.zero is None else self.zero.to(torch.float32).unsqueeze(place)
        values *= self.scale.to(torch.float32).unsqueeze(place)
        made = values.view(n, k).to(dtype)
        if self.outliers is not None:
            return self.outliers.put(made)
        if self.permutation is None:
            return made
        return torch.empty_like(made).index_copy_(1, self.permutation.long(), made)


def _is_permutation(order: Tensor, k: int) -> bool:
    if order.dtype != torch.int32 or order.shape != (k,):
        return False
    return torch.equal(order.sort().values, torch.arange(k, dtype=torch.int32, device=order.device))


def grouped(weight: Tensor, strategy: Strategy, group_size: int | None, name: str) -> Tensor:
    """The weight in float32 as (rows, groups, columns of a group): each last dimension shares one scale.

    Raises MethodError where the group does not divide K.
    """
    n, k = weight.shape
    weight = weight.to(torch.float32)
    if strategy == "tensor":
        return weight.reshape(1, 1, n * k)
    if strategy == "channel":
        return weight.reshape(n, 1, k)
    if group_size is None:
        raise MethodError(f"{name}: strategy group needs a group_size")
    if k % group_size:
        fits = [size for size in (128, 64, 32, 16) if k % size == 0]
        raise MethodError(
            f"{name}: group_size {group_size} does not divide its {k} input features; "
            f"use {' or '.join(map(str, fits)) or 'strategy channel'}, or exclude the layer"
        )
    return weight.reshape(n, k // group_size, group_size)


def absmax_scale(groups: Tensor, num_bits: int, scale_range: Literal["restricted", "full"]) -> Tensor:
    """Symmetric scale for each group, shape of `groups` without its last dimension; 1 where all is zero."""
    low, high = groups.amin(dim=-1), groups.amax(dim=-1)  # abs().amax() holds a second copy of the weight
    return scale_of_amax(torch.maximum(-low, high), num_bits, scale_range)


def scale_of_amax(amax: Tensor, num_bits: int, scale_range: Literal["restricted", "full"]) -> Tensor:
    """The symmetric scale of a largest magnitude; 1 where that is 0."""
    steps = 2 ** (num_bits - 1) - 1 if scale_range == "restricted" else (2**num_bits - 1) / 2
    return torch.where(amax > 0, amax / steps, 1.0)


def minmax_scale_zero(groups: Tensor, num_bits: int, zero_in_range: bool) -> tuple[Tensor, Tensor]:
    """Asymmetric scale and minimum for each group: w = q·scale + minimum. A constant group gets scale 1."""
    low, high = groups.amin(dim=-1), groups.amax(dim=-1)  # each 20 times as fast as aminmax along a dim
    if zero_in_range:
        low, high = low.clamp(max=0), high.clamp(min=0)
    return scale_of_range(low, high, num_bits), low


def scale_of_range(low: Tensor, high: Tensor, num_bits: int) -> Tensor:
    """The asymmetric scale (high − low) / (2^b − 1); 1 where both are equal."""
    # In float64, because high − low overflows float32 near the end of bf16's range.
    scale = ((high.double() - low.double()) / (2**num_bits - 1)).to(torch.float32)
    return torch.where(scale > 0, scale, 1.0)


def stored_scale(scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The scale rounded to the dtype that is stored, never 0.

    Nearest for normal numbers; upwards below the smallest normal one, where nearest may be half a scale
    off (or 0) and would clip: fp16 reaches that at a largest weight of 0.0077 for 8 bits.
    """
    info = torch.finfo(dtype)
    quantum = max(info.tiny * info.eps, torch.finfo(torch.float32).tiny)
    raised = ((scale.double() / quantum).ceil().clamp(min=1) * quantum).to(scale.dtype)
    return torch.where(scale < info.tiny, raised, scale).to(dtype)


def integer_zero(scale: Tensor, low: Tensor, num_bits: int) -> Tensor:
    """The code of 0 as uint8, clamp(round(−low / scale), 0, 2^b − 1), for ranges that hold 0.

    The clamp takes back only what rounding the scale added: half a code at most.
    """
    return (-low / scale.to(torch.float32)).round().clamp(0, 2**num_bits - 1).to(torch.uint8)


def float_zero(scale: Tensor, low: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Stored scale and zero −low / scale, both of `dtype`, for any range.

    A range that is tiny beside its distance from 0 has a zero beyond fp16; its scale is raised until the
    zero is half of the largest number, at a cost of |low|/65504 in a weight, 1/16 of its own rounding.
    """
    farthest = torch.finfo(dtype).max / 2
    kept = stored_scale(torch.maximum(scale, low.abs() / farthest), dtype)
    return kept, (-low / kept.to(torch.float32)).to(dtype)


def codes(groups: Tensor, scale: Tensor, zero: Tensor | float, low: int, high: int) -> Tensor:
    """Round to nearest: clamp(round(w / scale) + zero, low, high) as uint8; a float zero is added first.

    Ties go to the even multiple of the scale, as in GPTQ and torchao, and not to the even code: weights that
    were quantized before have many. Taken in slices of rows: no second float copy of the weight stands
    in memory.
    """
    steps = scale.to(torch.float32)[..., None]
    float_zero = isinstance(zero, Tensor) and zero.is_floating_point()
    made = torch.empty(groups.shape, dtype=torch.uint8, device=groups.device)
    rows = max(1, SLICE_WEIGHTS // (groups.shape[1] * groups.shape[2]))
    for first in range(0, groups.shape[0], rows):
        part = slice(first, first + rows)
        exact = groups[part] / steps[part]
        shift = zero.to(torch.float32)[part, ..., None] if isinstance(zero, Tensor) else zero
        rounded = exact.add_(shift).round_() if float_zero else exact.round_().add_(shift)
        made[part] = rounded.clamp_(low, high)
    return made
