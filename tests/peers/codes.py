"""How codes of two libraries are compared: equal, but for weights that lie on a tie."""

from __future__ import annotations

import torch
from torch import Tensor


def real_weights(rows: int = 48, columns: int = 256, size: float = 0.02, seed: int = 0) -> Tensor:
    """Normal, with a row in eight ten times as large and a few outliers, as trained weights have."""
    draw = torch.Generator().manual_seed(seed)
    made = torch.randn(rows, columns, generator=draw) * size
    made[::8] *= 10
    made[torch.rand(rows, columns, generator=draw) < 0.002] *= 8
    return made


def assert_same_codes(ours: Tensor, theirs: Tensor, exact: Tensor, apart_at_most: float = 1e-3) -> None:
    """Integer codes agree, and where they do not, by one and only if `exact` lies within 1e-4 of a half:
    libraries divide or multiply by the reciprocal, and float32 then rounds a tie either way."""
    apart = (ours.to(torch.int64) - theirs.to(torch.int64)).abs()
    exact = exact.double()
    tie = (exact - exact.floor() - 0.5).abs() < 1e-4
    wrong = (apart > 0) & ~(tie & (apart == 1))
    assert not wrong.any(), f"{int(wrong.sum())} of {wrong.numel()} codes differ, by up to {int(apart.max())}"
    assert (apart > 0).float().mean() <= apart_at_most
