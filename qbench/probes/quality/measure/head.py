"""The vocabulary head in slices, so that a window's logits never stand in memory.

A window of 512 tokens over a vocabulary of 49,152 makes 100 MB of float32 logits, which cost more in page
faults than in arithmetic. `SlicedHead` takes the hidden states that the model hands to its output embedding
and runs that same module (quantized or not) on a few rows at a time. What some models do to the logits
afterwards is repeated from the table `AFTER_HEAD`; `sliced_head` compares the outcome with the model's own
logits and returns None where they differ, so that an unknown architecture costs speed, never correctness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AfterHead = Callable[[Tensor, float], Tensor]

AFTER_HEAD: dict[str, AfterHead] = {
    "final_logit_softcapping": lambda logits, cap: torch.tanh(logits / cap) * cap,  # Gemma 2 and later
    "logit_scale": lambda logits, scale: logits * scale,  # Cohere
    "logits_scaling": lambda logits, scale: logits / scale,  # Granite
    "lm_head_multiplier": lambda logits, scale: logits * scale,  # Falcon-H1
}
"""Config key → what the forward of models with that key does after the head."""

PROBE_TOKENS = 16
"""Length of the prefix on which a split is compared with the model's own logits."""


@dataclass(frozen=True)
class SlicedHead:
    """A model split before its output embedding."""

    model: Any
    head: nn.Module
    after: tuple[tuple[AfterHead, float], ...]

    def hidden(self, ids: Tensor) -> Tensor:
        """Input of the head for ids (B, T): (B, T, H). The model's own head runs on one position."""
        captured: list[Tensor] = []

        def keep_first_position(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            captured.append(args[0])
            return (args[0][:, :1], *args[1:])

        hook = self.head.register_forward_pre_hook(keep_first_position)
        try:
            self.model(ids, use_cache=False)
        finally:
            hook.remove()
        if len(captured) != 1:
            raise RuntimeError(
                f"the output embedding ran {len(captured)} times in one forward, expected once"
            )
        return captured[0]

    @property
    def vocabulary(self) -> int:
        return int(self.model.config.get_text_config().vocab_size)

    def logits(self, rows: Tensor) -> Tensor:
        """The model's logits for hidden rows (R, H): (R, V), in the model's dtype."""
        return self._finished(self.head(rows))

    def in_float32(self, same: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        """Logits from a product in float32: hidden rows (R, H) → (R, V).

        Only the result is wider: weights and rows are what they are. A quantized head has its kernels'
        precision. `same` is a float32 weight that is used in place of a copy where it is equal.
        """
        head = self.head
        if type(head) is not nn.Linear:
            return lambda rows: self.logits(rows).float()
        weight = head.weight.float()
        if same is not None and torch.equal(weight, same):
            weight = same
        bias = None if head.bias is None else head.bias.float()
        return lambda rows: self._finished(F.linear(rows.float(), weight, bias))

    def _finished(self, logits: Tensor) -> Tensor:
        for function, value in self.after:
            logits = function(logits, value)
        return logits


def sliced_head(model: Any, ids: Tensor) -> SlicedHead | None:
    """A split that was proven on the short prefix `ids` (1, T), or None where the model cannot be split.

    The same rows go through the same module, so equality to one unit in the last place of the largest logit
    is asked for: a cap or a scale that the table lacks shows far above that or does not matter at all.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        return None
    split = SlicedHead(model, head, after_head(model.config.get_text_config()))
    own = model(ids, use_cache=False).logits[0]
    try:
        rows = split.hidden(ids)[0]
    except RuntimeError:  # this architecture does not run its output embedding once, on hidden states
        return None
    if rows.shape[0] != own.shape[0]:
        return None
    allowed = torch.finfo(own.dtype).eps * own.float().abs().max()
    return split if (split.logits(rows).float() - own.float()).abs().max() <= allowed else None


def after_head(config: Any) -> tuple[tuple[AfterHead, float], ...]:
    """Functions that a model with this config applies to its logits after the head."""
    return tuple(
        (function, float(value))
        for key, function in AFTER_HEAD.items()
        if (value := getattr(config, key, None)) is not None
    )
