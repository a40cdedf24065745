"""The Cholesky factor of a layer's Hessian, in the order in which a method rounds its columns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qbench.errors import MethodError

MOST_DAMPING = 10.0
"""Share of the mean diagonal beyond which nothing of H would be left; finite numbers never need as much."""
LEAST_DAMPING = 1e-5
"""Dampings that are tried after 0."""


@dataclass(frozen=True)
class Factor:
    """H = R·Rᵀ with R upper triangular, columns in the order of rounding."""

    order: Tensor
    """int64 (K): the i-th column to be rounded is input feature order[i]."""
    moves: Tensor
    """float32 (K, K), lower triangular with ones on the diagonal: moves[i, j] = R_ji / R_ii."""
    diagonal: Tensor
    """float32 (K): R_ii."""
    dead: Tensor
    """bool (K), by input feature: inputs that were always 0."""
    damping: float
    """Share of the mean diagonal that was added."""


def factorized(hessian: Tensor, damp: float, act_order: bool) -> Factor:
    """Orders, damps and factorizes H (K, K), which is changed on the way; see `Factor`.

    With `act_order` the largest diagonal comes first; inputs that were always 0 come last, with 1 for their
    H_ii. Where the damped H is positive definite neither in float32 nor in float64, the damping is taken ten
    times as large; MethodError where MOST_DAMPING does not do.
    """
    diagonal = hessian.diagonal()
    dead = diagonal == 0
    order = torch.arange(len(diagonal), device=hessian.device)
    if act_order:
        order = diagonal.argsort(descending=True, stable=True)
    diagonal[dead] = 1
    backwards = order.flip(0)
    lower, damping = _cholesky(hessian[backwards][:, backwards], damp)
    upper = lower.flip(0, 1)  # H backwards is L·Lᵀ, so that H in order is R·Rᵀ with R = L turned around
    ends = upper.diagonal().clone()
    return Factor(order, (upper.t() / ends[:, None]).contiguous(), ends, dead, damping)


def _cholesky(matrix: Tensor, damp: float) -> tuple[Tensor, float]:
    """The lower factor, float32, of a matrix with its diagonal raised, and the share of the mean added."""
    plain = matrix.diagonal().clone()
    mean = float(plain.mean(dtype=torch.float64))
    share = damp
    while share <= MOST_DAMPING:
        for dtype in (torch.float32, torch.float64):
            raised = matrix.to(dtype)
            raised.diagonal().copy_(plain.to(dtype) + share * mean)
            lower, failed = torch.linalg.cholesky_ex(raised)
            if not int(failed) and bool(lower.diagonal().isfinite().all()):
                return lower.to(torch.float32), share
        share = max(10 * share, LEAST_DAMPING)
    raise MethodError(
        f"the Hessian of the inputs has no Cholesky factor, with damp {damp:g} and up to "
        f"{MOST_DAMPING:g} of its mean diagonal, {mean:.3g}; use another calibration text, or a larger damp"
    )
