"""Scoring windows: negative log likelihood by window, and divergence from the unquantized model.

Floor: the model's own forward. What is saved against scoring full logits (lm-eval's rolling log likelihood
holds them, their log-softmax and an argmax in memory): float32 logits exist for a slice of rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from qbench.json_object import JsonObject
from qbench.measure.generation import check_context
from qbench.probes.quality.measure.attention import SplitAttention
from qbench.probes.quality.measure.base_outputs import BaseOutputs
from qbench.probes.quality.measure.divergence import Divergence
from qbench.probes.quality.measure.head import PROBE_TOKENS, SlicedHead, sliced_head
from qbench.probes.quality.measure.protocols import Window
from qbench.probes.quality.measure.scored_rows import batches, scored_rows, slice_rows


@dataclass(frozen=True)
class Scores:
    nll: list[float]
    """Per window: sum over its scored tokens, in nats."""
    head: Literal["sliced", "full"]
    divergence: JsonObject | None = None
    """See `Divergence.by_window`; None without outputs of the base."""


@torch.inference_mode()
def score(
    model: Any, windows: Sequence[Window], device: torch.device, base: BaseOutputs | None = None
) -> Scores:
    """Scores every window, in float32 from the model's logits; a loss that is not finite stays what it is.

    Raises ModelError for a window beyond the model's context.
    """
    check_context(model, max(len(window.ids) for window in windows) - 1, "a window")
    split = sliced_head(model, torch.tensor([windows[0].ids[:PROBE_TOKENS]], device=device))
    beside = None if base is None else Beside(base, split)
    nll: list[float] = []
    with SplitAttention():
        for batch in batches(windows, device, split is not None):
            rows, targets = scored_rows(model, split, batch, device)
            losses = _losses(rows, targets, split)
            nll += [float(part.double().sum()) for part in torch.split(losses, [w.scored for w in batch])]
            if beside is not None:
                beside.add(rows, targets)
    found = None if beside is None else beside.found.by_window([window.scored for window in windows])
    return Scores(nll, "sliced" if split else "full", found)


class Beside:
    """Runs along with the scoring and compares each row with the unquantized model's."""

    def __init__(self, base: BaseOutputs, split: SlicedHead | None) -> None:
        self._base, self._split = base, split
        self._head = None if split is None else split.in_float32(base.weight)
        self._done = 0
        self.found = Divergence()

    def add(self, rows: Tensor, targets: Tensor) -> None:
        """The next scored rows, in the order in which the base's were kept."""
        step = slice_rows(self._base.vocabulary, rows.device)
        for part, wanted in zip(torch.split(rows, step), torch.split(targets, step), strict=True):
            logits = part.to(torch.float32, copy=True) if self._head is None else self._head(part)
            self.found.add(self._base.logits(self._done, len(part)), logits, wanted)
            self._done += len(part)


def _losses(rows: Tensor, targets: Tensor, split: SlicedHead | None) -> Tensor:
    vocabulary = rows.shape[1] if split is None else split.vocabulary
    step = slice_rows(vocabulary, rows.device)
    return torch.cat(
        [
            F.cross_entropy((split.logits(part) if split else part).float(), wanted, reduction="none")
            for part, wanted in zip(torch.split(rows, step), torch.split(targets, step), strict=True)
        ]
    )
