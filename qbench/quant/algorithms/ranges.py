"""Range of a group of weights that codes cover: all of it, its percentiles, or the one of least error.

- `minmax`: from the smallest to the largest weight; nothing is clipped.
- `percentile` P: symmetric, the P-th percentile of |w|; asymmetric, the (100 − P)-th and the P-th of w, so
  that each end loses (100 − P) % of the weights. A percentile lies at position (n − 1)·P/100 of the sorted
  weights, linear between neighbours, as in `numpy.percentile` and `torch.quantile`.
- `mse`: the search of GPTQ (arXiv 2210.17323, its published code): both ends times p = 1 − i/100 for
  i = 0 … 79, the p of least Σ|w − ŵ|^2.4 kept, the largest of equal ones. i = 0 is `minmax`, so that the
  search is never worse under that norm. Ends move towards 0, or, where the range need not hold 0, towards
  its middle. Every p is judged by the scale and zero as they would be stored.

Groups are (rows, groups, columns of a group) as `affine.grouped` gives them; ends are (rows, groups).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from qbench.quant.formats import affine

Range = Literal["minmax", "percentile", "mse"]
ScaleRange = Literal["restricted", "full"]

NORM = 2.4
GRID = 100
STEPS = 80
"""Candidates of `mse`: shrunk by 0, 1/GRID … (STEPS − 1)/GRID."""
SLICE = 2**19
"""Weights worked on at a time: three float32 buffers of them stay in a CPU's last cache."""


@dataclass(frozen=True)
class Grid:
    """The numbers that codes can stand for, once a range is chosen."""

    stored: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    """Function from a range's two ends to the scale and zero that stand for it, both as stored."""
    lowest: int
    highest: int
    reach: int
    """Steps that a range can be wide before both a weight and its mirror image could be clipped (symmetric),
    or before one of its ends is (asymmetric)."""


def symmetric(
    groups: Tensor,
    num_bits: int,
    scale_range: ScaleRange,
    dtype: torch.dtype,
    choice: Range = "minmax",
    percentile: float | None = None,
) -> Tensor:
    """The scale of each group, of `dtype`; codes are those of `affine.codes` with the middle as zero."""
    middle = 2 ** (num_bits - 1)
    lowest = 1 if scale_range == "restricted" else 0

    def stored(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        scale = affine.stored_scale(affine.scale_of_amax(high, num_bits, scale_range), dtype)
        return scale, torch.full_like(scale, middle)

    if choice == "percentile":
        amax = upper_percentile(groups, _given(percentile), torch.abs)
    else:
        amax = torch.maximum(-groups.amin(dim=-1), groups.amax(dim=-1))
    ends = (-amax, amax)
    if choice == "mse":
        grid = Grid(stored, lowest, 2 * middle - 1, 2 * (middle - lowest))
        ends = least_error(groups, *ends, torch.zeros_like(amax), grid)
    return stored(*ends)[0]


def asymmetric(
    groups: Tensor,
    num_bits: int,
    zero: Literal["integer", "float"],
    dtype: torch.dtype,
    choice: Range = "minmax",
    percentile: float | None = None,
    zero_in_range: bool = True,
) -> tuple[Tensor, Tensor]:
    """Scale of `dtype` and zero of each group: uint8 for `integer` (needs zero_in_range), else `dtype`."""

    def stored(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        scale = affine.scale_of_range(low, high, num_bits)
        if zero == "float":
            return affine.float_zero(scale, low, dtype)
        scale = affine.stored_scale(scale, dtype)
        return scale, affine.integer_zero(scale, low, num_bits)

    if choice == "percentile":
        low = -upper_percentile(groups, _given(percentile), torch.neg)
        high = upper_percentile(groups, _given(percentile), torch.clone)
    else:
        low, high = groups.amin(dim=-1), groups.amax(dim=-1)
    if zero_in_range:
        low, high = low.clamp(max=0), high.clamp(min=0)
    if choice == "mse":
        fixed = torch.zeros_like(low) if zero_in_range else low / 2 + high / 2
        top = 2**num_bits - 1
        low, high = least_error(groups, low, high, fixed, Grid(stored, 0, top, top))
    return stored(low, high)


def upper_percentile(groups: Tensor, percentile: float, view: Callable[[Tensor], Tensor]) -> Tensor:
    """The percentile of view(w) in each group. Holds the weights above it, never a copy of all."""
    columns = groups.shape[-1]
    position = (columns - 1) * percentile / 100
    below = min(int(position), columns - 1)
    kept = columns - below
    """The weights from position `below` on: the last two of them are what lies around the percentile."""
    found = []
    for rows in _slices(groups.flatten(0, 1)):
        top = rows.new_empty(len(rows), 0)
        for part in torch.split(rows, max(SLICE, kept), dim=1):
            joined = torch.cat([top, view(part)], dim=1)
            top = joined.topk(min(kept, joined.shape[1]), dim=1).values
        around = top[:, [-1, max(kept - 2, 0)]].double()
        found.append(torch.lerp(around[:, 0], around[:, 1], position - below))
    return torch.cat(found).to(groups.dtype).view(groups.shape[:-1])


def least_error(
    groups: Tensor, low: Tensor, high: Tensor, fixed: Tensor, grid: Grid
) -> tuple[Tensor, Tensor]:
    """The ends p·low + (1 − p)·fixed and p·high + (1 − p)·fixed of least Σ|w − ŵ|^2.4 in each group."""
    ends = torch.stack([low, high, fixed], dim=-1).flatten(0, 1)
    pieces = _slices(groups.flatten(0, 1))
    starts = torch.split(ends, [len(rows) for rows in pieces])
    found = torch.cat([_best_shrink(rows, own, grid) for rows, own in zip(pieces, starts, strict=True)])
    return _shrunk(ends, found, low.shape)


def _shrunk(ends: Tensor, shrink: Tensor | float, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Both ends moved towards the fixed point: low, high and that point are `ends` (R, 3)."""
    low, high, fixed = ends.unbind(-1)
    rest = fixed * (1 - shrink)
    return (low * shrink + rest).view(shape), (high * shrink + rest).view(shape)


def _best_shrink(rows: Tensor, ends: Tensor, grid: Grid) -> Tensor:
    """The best p of each row. A row leaves the search once no smaller p can beat what it has found."""
    best = rows.new_ones(len(rows))
    least = rows.new_full((len(rows),), torch.inf)
    alive = torch.arange(len(rows), device=rows.device)
    for step in range(STEPS):
        shrink = 1 - step / GRID
        scale, zero = (value.float() for value in grid.stored(*_shrunk(ends, shrink, alive.shape)))
        error = error_norm(rows, scale, zero, grid.lowest, grid.highest)
        better = error < least[alive]
        improved = alive[better]
        best[improved], least[improved] = shrink, error[better]
        keep = _certain_error(ends, scale, grid) <= least[alive]
        left = int(keep.sum())
        if left == 0:
            break
        if left < 0.8 * len(alive):  # fewer leave at a time than copying the others costs
            rows, ends, alive = rows[keep], ends[keep], alive[keep]
    return best


def error_norm(rows: Tensor, scale: Tensor, zero: Tensor, lowest: int, highest: int) -> Tensor:
    """Σ|w − ŵ|^2.4 of each row (R, columns) for its float32 scale and zero (R)."""
    total = torch.zeros_like(scale)
    for part in torch.split(rows, SLICE, dim=1):
        exact = part / scale[:, None]
        exact += zero[:, None]
        off = exact.round().clamp_(lowest, highest).sub_(exact).abs_()
        total += off.pow_(NORM).sum(dim=1)
    return total * scale**NORM


def _certain_error(ends: Tensor, scale: Tensor, grid: Grid) -> Tensor:
    """A bound from below on a row's error norm at this scale and at every smaller one, for any zero.

    Where the ends lie D further apart than the grid reaches, they are clipped by x and y with x + y ≥ D, so
    that one alone errs by D/2.
    """
    clipped = ends[:, 1] - ends[:, 0] - grid.reach * scale * (1 + 1e-5)
    return (clipped.clamp_(min=0) / 2) ** NORM


def _slices(rows: Tensor) -> tuple[Tensor, ...]:
    """(R, columns) in pieces of about SLICE weights, one row at least."""
    return torch.split(rows, max(1, SLICE // rows.shape[1]))


def _given(percentile: float | None) -> float:
    if percentile is None:
        raise ValueError("range percentile needs a percentile")
    return percentile
