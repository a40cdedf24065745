"""GPTQ (Frantar et al., arXiv 2210.17323): rounding whose error later columns cancel.

For a weight W (N, K) and H = 2/n·Σ x xᵀ + damping the paper rounds column after column and moves the columns
that are left to where tr((W − Ŵ)·H·(W − Ŵ)ᵀ) is least, with a Cholesky factor of H⁻¹. The same numbers come
from a factor of H itself, with neither an inverse nor a second factor: with H = R·Rᵀ, R upper triangular,
that trace is ‖(W − Ŵ)·R‖², and column i of (W − Ŵ)·R holds only residuals of columns up to i. So column i,
when its turn comes, has moved to

    w_i + Σ_{j<i} (w_j − ŵ_j)·R_ji / R_ii,

is rounded there, and adds (that − ŵ_i)²·R_ii², the paper's Err², to the loss. Of a group whose scales are
taken when it is reached, all columns have moved, to W_G + S·R_GG⁻¹ with S = (W − Ŵ)·R over the columns done.

Everything runs on the transposed weight: a step reads and writes contiguous rows, and what the columns before
a block do to it is one matrix product. The steps within a block run in C on a CPU that has a compiler.

Differences from the authors' code: columns whose input was always 0 come last in act-order; a group's
scales are always taken from columns that all earlier ones have moved, where that code leaves out those of the
same block; scales are rounded to the dtype that is stored before codes are computed with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from qbench.errors import MethodError
from qbench.quant.algorithms import ranges
from qbench.quant.algorithms.cholesky import Factor, factorized
from qbench.quant.formats import affine
from qbench.quant.formats.affine import AffineWeight
from qbench.quant.formats.weight import Strategy
from qbench.quant.kernels.base import native
from qbench.quant.method.base import Layer


@dataclass(frozen=True)
class Grid:
    """The numbers that codes stand for."""

    num_bits: int
    strategy: Strategy
    group_size: int | None
    symmetric: bool
    range: Literal["minmax", "mse"]

    def fit(self, groups: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Scale of `dtype` and zero, uint8, as stored, of groups (N, G, columns): both (N, G)."""
        if not self.symmetric:
            return ranges.asymmetric(groups, self.num_bits, "integer", dtype, self.range)
        scale = ranges.symmetric(groups, self.num_bits, "full", dtype, self.range)
        return scale, torch.full_like(scale, 2 ** (self.num_bits - 1), dtype=torch.uint8)


@dataclass(frozen=True)
class Turns:
    """Order in which columns are rounded, and the scales known by then."""

    act_order: bool
    static_groups: bool
    damp: float
    block_size: int


def quantize(weight: Tensor, layer: Layer, grid: Grid, turns: Turns) -> AffineWeight:
    """Codes of a weight (N, K) for its layer's inputs; notes `damping`, `dead_columns`, `loss` (Σ Err²)."""
    inputs = layer.inputs
    if inputs is None:
        raise MethodError(f"{layer.name}: gptq needs the layer's inputs on a calibration text")
    key = ("gptq", turns.damp, turns.act_order)
    factor = inputs.once(key, lambda: factorized(inputs.hessian(), turns.damp, turns.act_order))
    exact = weight.to(torch.float32, copy=True)
    exact[:, factor.dead] = 0
    groups = affine.grouped(exact, grid.strategy, grid.group_size, layer.name)
    columns = exact.t()[factor.order]
    scales: Known | Reached
    if turns.static_groups:
        scales = Known(*grid.fit(groups, weight.dtype), factor.order // groups.shape[2])
        spans = _spans(len(columns), len(columns), turns.block_size)
    else:
        scales = Reached(lambda group: grid.fit(group, weight.dtype), groups.shape[2])
        spans = _spans(len(columns), groups.shape[2], turns.block_size)
    codes, loss = rounded(columns, factor, scales, spans, 2**grid.num_bits - 1)
    layer.notes.update(damping=factor.damping, dead_columns=int(factor.dead.sum()), loss=loss)
    permuted = turns.act_order and not turns.static_groups
    scale, zero = scales.stored()
    return AffineWeight(
        codes=codes.t().contiguous() if permuted else codes[factor.order.argsort()].t().contiguous(),
        scale=scale,
        zero=None if grid.symmetric else zero,
        num_bits=grid.num_bits,
        group_size=grid.group_size,
        permutation=factor.order.to(torch.int32) if permuted else None,
    )


class Known:
    """Scales that were taken before any column was rounded."""

    def __init__(self, scale: Tensor, zero: Tensor, group: Tensor) -> None:
        self._stored = scale, zero
        self._scales = scale.t().to(torch.float32).contiguous().unbind()
        self._zeros = zero.t().to(torch.float32).contiguous().unbind()
        self._group: list[int] = group.tolist()

    def of(self, first: int, last: int, moved: Callable[[int], Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Scale and zero (N) of each column from `first` to `last`, in the order of rounding."""
        return [(self._scales[group], self._zeros[group]) for group in self._group[first:last]]

    def stored(self) -> tuple[Tensor, Tensor]:
        """Scales and zeros (N, G)."""
        return self._stored


class Reached:
    """Scales that are taken when the first column of a group has its turn."""

    def __init__(self, fit: Callable[[Tensor], tuple[Tensor, Tensor]], size: int) -> None:
        self._fit, self._size = fit, size
        self._found: list[tuple[Tensor, Tensor]] = []

    def of(self, first: int, last: int, moved: Callable[[int], Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Scale and zero as of `Known`; `moved(size)` gives the next columns as moved, (size, N)."""
        if first % self._size == 0:
            self._found.append(self._fit(moved(self._size).t()[:, None]))
        scale, zero = self._found[-1]
        return [(scale[:, 0].to(torch.float32), zero[:, 0].to(torch.float32))] * (last - first)

    def stored(self) -> tuple[Tensor, Tensor]:
        """Scales and zeros (N, G), groups in the order of rounding."""
        scales, zeros = zip(*self._found, strict=True)
        return torch.cat(scales, dim=1), torch.cat(zeros, dim=1)


def rounded(
    columns: Tensor, factor: Factor, scales: Known | Reached, spans: Iterator[tuple[int, int]], top: int
) -> tuple[Tensor, float]:
    """Codes 0 … top, uint8, of columns (K, N) in the order of `factor`, and Σ Err²."""
    codes = torch.empty(columns.shape, dtype=torch.uint8, device=columns.device)
    left = torch.empty_like(columns)
    loss = torch.zeros((), dtype=torch.float64, device=columns.device)
    walk = _round_block if columns.is_cuda or native.why_not() else native.round_columns
    for first, last in spans:
        block = slice(first, last)
        own = scales.of(first, last, partial(_moved, columns, factor.moves, left, first))
        wanted = torch.addmm(columns[block], factor.moves[block, :first], left[:first])
        moves = factor.moves[block, block]
        walk(columns[block], wanted, moves, own, top, left[block], codes[block])
        wanted -= columns[block]
        wanted += left[block]
        loss += (wanted * factor.diagonal[block, None]).square_().sum(dtype=torch.float64)
    return codes, float(loss)


def _round_block(
    columns: Tensor,
    wanted: Tensor,
    moves: Tensor,
    scales: list[tuple[Tensor, Tensor]],
    top: int,
    left: Tensor,
    codes: Tensor,
) -> None:
    """Rounds a block of columns; see `native.round_columns`, which does the same in C."""
    spare = torch.empty_like(columns[0])
    for i, (scale, zero) in enumerate(scales):
        target = wanted[i].addmv_(left[:i].t(), moves[i, :i])
        code = torch.div(target, scale, out=spare).round_().add_(zero).clamp_(0, top)
        codes[i] = code
        torch.addcmul(columns[i], code.sub_(zero), scale, value=-1, out=left[i])


def _moved(columns: Tensor, moves: Tensor, left: Tensor, first: int, size: int) -> Tensor:
    """The next `size` columns as the finished ones have moved them, (size, N)."""
    group = slice(first, first + size)
    pull = moves[group, :first] @ left[:first]
    solved: Tensor = torch.linalg.solve_triangular(moves[group, group], pull, upper=False, unitriangular=True)
    return columns[group] + solved


def _spans(count: int, group: int, size: int) -> Iterator[tuple[int, int]]:
    """Blocks of at most `size` columns, none of which reaches into another group."""
    for start in range(0, count, group):
        for first in range(start, start + group, size):
            yield first, min(first + size, start + group)
