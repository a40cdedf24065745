"""A model's forward over windows, a row for each scored token: what goes into the head, and the token told.

Windows of one length go together; how many, and how many rows the head is given at a time, is the same for
every model of a vocabulary, so that two models' rows come in the same runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from qbench.probes.quality.measure.head import SlicedHead
from qbench.probes.quality.measure.protocols import Window

SLICE_BYTES = {"cpu": 12 << 20, "cuda": 256 << 20}
"""Float32 logits of one slice. On a CPU more falls out of the last-level cache and, above malloc's mmap
threshold, page-faults anew each time (measured: 4,096 and 49,152 words, 12 MiB best of 3 to 200)."""
MAX_SLICE_ROWS = {"cpu": 256, "cuda": 4096}
"""More rows make no matrix product faster."""
TOKENS_PER_FORWARD = {"cpu": 2048, "cuda": 8192}
"""Windows are batched up to so many tokens. Measured on 2 cores: 2,048 beats 512 by a fifth at 6M parameters
and by 5% at 135M, with the same log likelihoods."""


def batches(windows: Sequence[Window], device: torch.device, sliced: bool) -> Iterator[list[Window]]:
    """Runs of neighbours of one length, a forward each: as many tokens as suit the device, one window at
    least, and one at most where whole logits have to stand in memory."""
    tokens = TOKENS_PER_FORWARD[device.type] if sliced else 1
    for length, run in itertools.groupby(windows, key=lambda window: len(window.ids)):
        alike, size = list(run), max(1, tokens // (length - 1))
        yield from (alike[i : i + size] for i in range(0, len(alike), size))


def scored_rows(
    model: Any, split: SlicedHead | None, batch: Sequence[Window], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Rows that the scored tokens of a batch are told from, and those tokens: (R, H) hidden states that go
    into the head, or (R, V) logits of a model that was not split, and (R) token ids."""
    ids = torch.tensor([window.ids for window in batch], device=device)
    inputs = ids[:, :-1]  # nothing is asked of what follows the last token
    states = split.hidden(inputs) if split else model(inputs, use_cache=False).logits
    rows = torch.cat([states[i, window.first - 1 :] for i, window in enumerate(batch)])
    return rows, torch.cat([ids[i, window.first :] for i, window in enumerate(batch)])


def slice_rows(vocabulary: int, device: torch.device) -> int:
    """Rows of float32 logits that are made at a time."""
    fitting = SLICE_BYTES[device.type] // (4 * vocabulary)
    return min(max(1, fitting), MAX_SLICE_ROWS[device.type])
