"""Half-Quadratic Quantization (Badri and Shaji, 2023; the `hqq` package): a better zero, without data.

The scale is fixed from the raw range of a group; the zero z, a float in units of codes, is sought that makes
‖W − (Q − z)·s‖ₚ small for a p below 1, which forgives outliers. With an extra variable E for the error, the
problem splits into two that are solved in turn, under a weight β that grows by κ a step:

    Q ← clamp(round(W/s + z), 0, 2^b − 1)
    E ← shrink(W − (Q − z)·s),  shrink(x) = sign(x)·max(|x| − |x|^(p−1)/β, 0)        (paper, equation 5)
    z ← mean over the group of Q − (W − E)/s                                          (paper, equation 7)

Each group keeps the zero of least Σ|W − Ŵ| among z₀ (round to nearest) and all that follow; rounded to the
dtype in which it is stored, it must still beat z₀. So no group is worse than by rounding to nearest. The
package instead stops a whole tensor when its mean error first rises, and returns the zero after that.

shrink is 0 up to |x| = β^(−1/(2−p)), which is 0.17 for the defaults: language models' weights err less, E
stays 0, and the iteration is then one of least squares. The power is taken only in groups that may pass it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from qbench.quant.formats import affine

SLICE = 2**19
"""Weights solved at a time: the four float32 buffers of them stay in a CPU's last cache."""


@dataclass(frozen=True)
class Solver:
    """Parameters of the iteration; the defaults are the package's and the paper's."""

    num_bits: int = 4
    lp_norm: float = 0.7
    beta: float = 10.0
    kappa: float = 1.01
    iterations: int = 20

    @property
    def top(self) -> int:
        return int(2**self.num_bits - 1)

    def betas(self) -> list[float]:
        return [self.beta * self.kappa**step for step in range(self.iterations)]

    def threshold(self, beta: float) -> float:
        """The largest |x| that shrinks to 0."""
        return float(beta ** (-1 / (2 - self.lp_norm)))


def quantize(groups: Tensor, solver: Solver, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Codes (uint8, shape of `groups`), scale and zero (`dtype`) of (rows, groups, columns of a group).

    `groups` may be a view of any float dtype, such as a transposed one for groups along the other axis;
    float32 copies are made of a slice at a time.
    """
    codes = torch.empty(groups.shape, dtype=torch.uint8, device=groups.device)
    scale = torch.empty(groups.shape[:2], dtype=dtype, device=groups.device)
    zero = torch.empty_like(scale)
    for part in _slices(groups.shape):
        weight = groups[part].to(torch.float32).flatten(0, 1)
        step, low = affine.minmax_scale_zero(weight, solver.num_bits, zero_in_range=False)
        step, start = affine.float_zero(step, low, dtype)
        slice_ = Slice(weight.contiguous(), step, solver)
        best = slice_.solve(start)
        codes[part] = slice_.codes(best.to(torch.float32)).view(codes[part].shape)
        scale[part], zero[part] = step.view(scale[part].shape), best.view(scale[part].shape)
    return codes, scale, zero


class Slice:
    """Groups (R, columns) that are solved together, in buffers that are allocated once."""

    def __init__(self, weight: Tensor, scale: Tensor, solver: Solver) -> None:
        """`scale` (R), as stored."""
        self.solver, self.stored = solver, scale.dtype
        self.scale = scale.to(torch.float32)[:, None]
        self.exact = weight / self.scale
        """W/s, in units of codes."""
        self.ends = self.exact.amin(1, keepdim=True), self.exact.amax(1, keepdim=True)
        self.gap, self.off, self.spare = (torch.empty_like(weight) for _ in range(3))

    def codes(self, zero: Tensor) -> Tensor:
        """Q as floats, for zeros (R) or (R, 1); in a buffer that the next call overwrites."""
        torch.add(self.exact, zero.view(-1, 1), out=self.gap)
        return self.gap.round_().clamp_(0, self.solver.top)

    def solve(self, start: Tensor) -> Tensor:
        """The best zero (R) as stored, from the stored round-to-nearest one."""
        zero = first = start.to(torch.float32)[:, None]
        least = first_loss = self.loss(zero)
        best = first
        for beta in self.solver.betas():
            after = self.update(zero, beta)
            if torch.equal(after, zero) and not self.may_shrink(zero, self.solver.betas()[-1]).any():
                break  # the same codes and E = 0 from here on
            zero = after
            loss = self.loss(zero)
            better = loss < least
            best, least = torch.where(better, zero, best), torch.where(better, loss, least)
        rounded = best.to(self.stored).to(torch.float32)
        kept = torch.where(self.loss(rounded) < first_loss, rounded, first)
        return kept.view(-1).to(self.stored)

    def loss(self, zero: Tensor) -> Tensor:
        """Σ|W − Ŵ|/s (R, 1); leaves Q − W/s in `gap` and Q − W/s − z, which is (Ŵ − W)/s, in `off`."""
        self.codes(zero).sub_(self.exact)
        torch.sub(self.gap, zero, out=self.off)
        return torch.abs(self.off, out=self.spare).sum(1, keepdim=True)

    def update(self, zero: Tensor, beta: float) -> Tensor:
        """The next zero (R, 1): mean of Q − W/s + E/s, after `loss` at this zero."""
        after = self.gap.mean(1, keepdim=True)
        groups = self.may_shrink(zero, beta).view(-1)
        if groups.any():
            scale = self.scale[groups]
            after[groups] += (
                shrink(-self.off[groups] * scale, beta, self.solver.lp_norm).mean(1, True) / scale
            )
        return after

    def may_shrink(self, zero: Tensor, beta: float) -> Tensor:
        """Groups (R, 1) that have an error beyond the threshold, by what their ends are clipped or half a
        step; a hundredth less, for rounding: a group too many costs time only."""
        low, high = self.ends
        widest = torch.maximum(high + zero - self.solver.top, -low - zero).clamp_(min=0.5)
        return widest * self.scale > 0.99 * self.solver.threshold(beta)


def shrink(x: Tensor, beta: float, lp_norm: float) -> Tensor:
    """sign(x)·max(|x| − |x|^(p−1)/β, 0), the generalised soft threshold."""
    size = x.abs()
    size -= size.pow(lp_norm - 1) / beta
    return size.clamp_(min=0).copysign_(x)


def _slices(shape: torch.Size) -> Iterator[slice]:
    """Slices of the first dimension, about SLICE weights each, one row at least."""
    rows = max(1, SLICE // (shape[1] * shape[2]))
    for first in range(0, shape[0], rows):
        yield slice(first, min(first + rows, shape[0]))
