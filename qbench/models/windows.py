"""Windows of a calibration text."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qbench.errors import ModelError


def draw_windows(tokenizer: Any, text: str, samples: int, seqlen: int, seed: int) -> Tensor:
    """`samples` windows of `seqlen` tokens as int64 (samples, seqlen), in the text's order.

    The whole text is tokenized once, with the tokenizer's default call. The windows' starts are drawn evenly
    from every position that leaves room for a window, no position twice; windows may overlap, as in GPTQ's
    own sampling. One seed draws the same windows wherever it runs. Raises ModelError where the text holds
    too few tokens.
    """
    ids = tokenizer(text, verbose=False)["input_ids"]
    starts = len(ids) - seqlen + 1
    if starts < samples:
        raise ModelError(
            f"calibration asks for {samples} windows of {seqlen} tokens that start at different places, "
            f"{samples + seqlen - 1} tokens at least; the corpus holds {len(ids)}. "
            "Lower calibration.samples or calibration.seqlen, or add text"
        )
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(starts, generator=generator)[:samples].sort().values
    return torch.tensor(ids)[chosen[:, None] + torch.arange(seqlen)]
