"""Generation, taken apart: the one loop behind latency, memory and energy.

Greedy, fixed batch, exact length, KV cache on, no early stop. `transformers.generate` would add its own
processing to every step; here a step is one forward of one token per sequence and an argmax.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qbench.errors import ModelError
from qbench.json_object import JsonObject


def context_length(model: Any) -> int | None:
    """Positions that the model was built for; None where its config states no limit."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(limit) if limit else None


def check_context(model: Any, tokens: int, what: str) -> None:
    """Raises ModelError where `tokens` positions are more than the model was built for."""
    limit = context_length(model)
    if limit is not None and tokens > limit:
        raise ModelError(
            f"{what}: {tokens} tokens exceed the model's context of {limit}; lower it in the suite"
        )


def prompts(model: Any, batch_size: int, length: int, seed: int, device: torch.device) -> Tensor:
    """Random token ids (batch_size, length), the same for one seed wherever they are drawn."""
    vocabulary = model.config.get_text_config().vocab_size
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocabulary, (batch_size, length), generator=generator).to(device)


@dataclass
class Generation:
    """A model, a batch of prompts, and where the generation stands."""

    model: Any
    prompt: Tensor
    """(B, P) token ids."""
    token: Tensor | None = None
    """(B, 1), the newest token; None before the prefill."""
    cache: Any = None
    logits: Tensor | None = None
    """(B, V), what the newest token was picked from."""

    def __post_init__(self) -> None:
        # The first token needs the head on the last position only; nearly every model can leave out the rest.
        self.keeps_last = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        self._keep = {"logits_to_keep": 1} if self.keeps_last else {}

    def prefill(self) -> None:
        """Runs the prompt on an empty cache and picks the first token."""
        self.cache = None
        self._forward(self.prompt)

    def step(self) -> None:
        """Feeds the newest token and picks the next."""
        assert self.token is not None, "prefill comes first"
        self._forward(self.token)

    def rewind(self, tokens: int) -> None:
        """Takes the newest `tokens` tokens out of the cache, so that the same steps can run again."""
        self.cache.crop(-tokens)

    def facts(self) -> JsonObject:
        """Facts of the runtime for the record."""
        return {}

    def finish(self) -> None:
        """Brings the layers' counts up to date, once the last forward is done."""

    def _forward(self, ids: Tensor) -> None:
        out = self.model(ids, past_key_values=self.cache, use_cache=True, **self._keep)
        if out.past_key_values is None:
            raise ModelError(f"{type(self.model).__name__} returns no KV cache; generation cannot be timed")
        self.cache = out.past_key_values
        self.logits = out.logits[:, -1]
        self.token = self.logits.argmax(-1, keepdim=True)
