"""Σ x xᵀ over many tokens, in float32: half of the work of a calibrated method.

Only the upper triangle is computed, in blocks of rows. bf16 inputs are multiplied as bf16, which a CPU with
bf16 arithmetic does several times as fast as float32: products of bf16 numbers are exact in float32 and so
are the sums inside of the multiplication, but torch rounds what comes out to bf16. What that rounding lost is
a second multiplication, S − round(S), which is itself rounded and leaves a relative error of 2⁻¹⁸.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

ROWS = 256
"""Rows of the triangle at a time. K = 1,536 computes 58% of the square; fewer rows make slow products."""
NARROW_ERROR = 2.0**-14
"""Largest error, relative to √(H_ii·H_jj), at which the two multiplications count as equal."""


def add_products(total: Tensor, x: Tensor) -> None:
    """Adds xᵀx of x (tokens, K) to the upper triangle of `total`, float32 (K, K); the rest is undefined."""
    x = x if _fast(x.dtype, x.device) else x.to(torch.float32)
    for first in range(0, x.shape[1], ROWS):
        rows = slice(first, first + ROWS)
        _add(total[rows, first:], x[:, rows].t(), x[:, first:])


def whole(total: Tensor, factor: float) -> Tensor:
    """The symmetric matrix of which `total` holds the upper triangle, times `factor`; a new tensor."""
    made = total.triu().mul_(factor)
    return made.add_(made.triu(1).t())


def _add(total: Tensor, a: Tensor, b: Tensor) -> None:
    if a.dtype == torch.float32:
        total.addmm_(a, b)
    elif a.is_cuda:
        total.add_(torch.mm(a, b, out_dtype=torch.float32))
    else:
        rounded = torch.mm(a, b)
        total.add_(rounded).add_(torch.addmm(rounded, a, b, beta=-1))


def _fast(dtype: torch.dtype, device: torch.device) -> bool:
    """True where inputs of this dtype are multiplied as they are."""
    if dtype == torch.float32:
        return True
    if device.type == "cuda":
        return dtype in (torch.bfloat16, torch.float16)
    return dtype == torch.bfloat16 and _bf16_sums_are_wide()


@functools.cache
def _bf16_sums_are_wide() -> bool:
    """True where this CPU multiplies bf16 natively and its library rounds once, at the end; tried."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(512, 64, generator=generator).to(torch.bfloat16)
    found = torch.zeros(64, 64)
    _add(found, x.t(), x)
    exact = x.double().t() @ x.double()
    size = exact.diag().sqrt()
    return bool(((found - exact).abs() <= NARROW_ERROR * size[:, None] * size).all())
