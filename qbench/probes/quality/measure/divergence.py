"""Divergence from the unquantized model, token by token: what perplexity alone hides.

With p of the base and q of the cell, over the whole vocabulary and on the same tokens:

    KL(p‖q) = Σ p·(log p − log q) = Σ [q − p + p·(log p − log q)]

The second form is what is computed: its terms are all positive, and the rounding of log p and log q, which
come out of a softmax each, drops out of it. Beside it: whether both put the same token first, and Δp, by how
much the probability of the token that came differs (llama.cpp `perplexity --kl-divergence`).

Logits are float32 on both sides (`SlicedHead.float_logits`): rounding them to bf16 alone gives a KL of 2e-4
on SmolLM2-135M, a tenth of what 8-bit weights do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from qbench.json_object import JsonObject

SLICE_BYTES = {"cpu": 2 << 20, "cuda": 64 << 20}
"""Float32 logits of one side at a time: on a CPU more leaves its cache (measured: 2 MiB is three times as
fast as 12 MiB at 49,152 words)."""

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclass
class Divergence:
    """Distances of a run of scored tokens, in their order."""

    kl: list[Tensor] = field(default_factory=list)
    """Nat by token."""
    agree: list[Tensor] = field(default_factory=list)
    """1 where both models put the same token first."""
    delta_p: list[Tensor] = field(default_factory=list)
    """q − p of the token that came."""

    def add(self, base: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Float32 logits (R, V) of both, which are overwritten, and the tokens that came (R)."""
        rows = max(1, SLICE_BYTES[logits.device.type] // (4 * logits.shape[1]))
        parts = (torch.split(part, rows) for part in (base, logits, targets))
        for ours, theirs, wanted in zip(*parts, strict=True):
            self._add(ours, theirs, wanted[:, None])

    def _add(self, base: Tensor, logits: Tensor, wanted: Tensor) -> None:
        self.agree.append((base.argmax(-1) == logits.argmax(-1)).cpu())
        log_p, log_q = base.log_softmax(-1), logits.log_softmax(-1)
        p = torch.exp(log_p, out=base)
        gap = log_p.sub_(log_q).mul_(p).sub_(p)
        q = log_q.exp_()
        self.delta_p.append((q.gather(1, wanted) - p.gather(1, wanted))[:, 0].cpu())
        self.kl.append(gap.add_(q).sum(-1).clamp_(min=0).cpu())

    def by_window(self, scored: list[int]) -> JsonObject:
        """Sums by window of `scored` tokens each, and quantiles over all tokens; null where not finite."""
        kl, agree, delta_p = (torch.cat(part).double() for part in (self.kl, self.agree, self.delta_p))
        if not torch.isfinite(kl).all():
            return {"value": None, "reason": "the cell's or the base's logits are not finite"}
        return {
            "kl": _sums(kl, scored),
            "agree": [int(count) for count in _sums(agree, scored)],
            "delta_p_squared": _sums(delta_p.square(), scored),
            "kl_quantiles": dict(
                zip(map(str, QUANTILES), map(float, np.quantile(kl.numpy(), QUANTILES)), strict=True)
            ),
            "kl_max": float(kl.max()),
        }


def _sums(values: Tensor, scored: list[int]) -> list[float]:
    return [float(part.sum()) for part in torch.split(values, scored)]
