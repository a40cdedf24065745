"""Quality probe: negative log likelihood per window, under a named protocol.

Protocol `gptq` (IST-DASLab/gptq `opt.py`, `llama.py`): the whole text is tokenized once, with the tokenizer's
default call as the reference does (one that prepends a BOS prepends one to the whole text);
disjoint windows of `seqlen` tokens; the tail that fills no window is dropped; in each window the `seqlen − 1`
next tokens are scored. Perplexity itself is computed on reading: exp(Σ nll / Σ tokens).

Other protocols are other lists of `Window`s: `window_nll` knows nothing of where they come from.

Floor: the model's own forward. What is saved against scoring full logits (lm-eval's rolling log likelihood
holds them, their log-softmax and an argmax in memory): float32 logits exist for a slice of rows only.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F

from qbench.errors import ModelError
from qbench.measure.attention import SplitAttention
from qbench.measure.head import SlicedHead, sliced_head
from qbench.measure.probe import Bench
from qbench.measure.workload import check_context
from qbench.models.corpora import corpus_name

SLICE_BYTES = {"cpu": 12 << 20, "cuda": 256 << 20}
"""Float32 logits of one slice. On a CPU more falls out of the last-level cache and, above malloc's mmap
threshold, page-faults anew each time (measured: 4,096 and 49,152 words, 12 MiB best of 3 to 200)."""
MAX_SLICE_ROWS = {"cpu": 256, "cuda": 4096}
"""More rows make no matrix product faster."""
TOKENS_PER_FORWARD = {"cpu": 2048, "cuda": 8192}
"""Windows are batched up to so many tokens. Measured on 2 cores: 2,048 beats 512 by a fifth at 6M parameters
and by 5% at 135M, with the same log likelihoods."""
PROBE_TOKENS = 16
"""Length of the prefix on which the sliced head is compared with the model's own logits."""


@dataclass(frozen=True)
class Window:
    """Token ids, of which those from position `first` on are scored, each given all before it."""

    ids: Sequence[int]
    first: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.first < len(self.ids):
            raise ValueError(
                f"a window of {len(self.ids)} tokens cannot be scored from position {self.first}"
            )

    @property
    def scored(self) -> int:
        return len(self.ids) - self.first


@dataclass(frozen=True)
class Scores:
    nll: list[float]
    """Per window: sum over its scored tokens, in nats."""
    head: Literal["sliced", "full"]


def gptq_windows(tokenizer: Any, text: str, seqlen: int, max_windows: int | None) -> list[Window]:
    """The disjoint windows of protocol `gptq`; ModelError where the text does not fill one."""
    ids: list[int] = tokenizer(text, verbose=False)["input_ids"]
    count = len(ids) // seqlen
    if count == 0:
        raise ModelError(
            f"the text has {len(ids)} tokens, one window needs {seqlen}; lower quality.seqlen or add text"
        )
    if max_windows is not None:
        count = min(count, max_windows)
    return [Window(ids[i * seqlen : (i + 1) * seqlen]) for i in range(count)]


@torch.inference_mode()
def window_nll(model: Any, windows: Sequence[Window], device: torch.device) -> Scores:
    """Scores every window, in float32 from the model's logits; a loss that is not finite stays what it is.

    Raises ModelError for a window beyond the model's context.
    """
    check_context(model, max(len(window.ids) for window in windows) - 1, "a window")
    prefix = torch.tensor([windows[0].ids[:PROBE_TOKENS]], device=device)
    split = sliced_head(model, prefix)
    nll: list[float] = []
    with SplitAttention():
        for batch in _batches(windows, TOKENS_PER_FORWARD[device.type] if split else 1):
            nll += _batch_nll(model, split, batch, device)
    return Scores(nll, "sliced" if split else "full")


def _batches(windows: Sequence[Window], tokens: int) -> Iterator[list[Window]]:
    """Runs of neighbours of one length, at most `tokens` tokens together (at least one window)."""
    for length, run in itertools.groupby(windows, key=lambda window: len(window.ids)):
        alike, size = list(run), max(1, tokens // (length - 1))
        yield from (alike[i : i + size] for i in range(0, len(alike), size))


def _batch_nll(
    model: Any, split: SlicedHead | None, batch: list[Window], device: torch.device
) -> list[float]:
    ids = torch.tensor([window.ids for window in batch], device=device)
    inputs = ids[:, :-1]  # nothing is asked of what follows the last token
    states = split.hidden(inputs) if split else model(inputs, use_cache=False).logits
    rows = torch.cat([states[i, window.first - 1 :] for i, window in enumerate(batch)])
    targets = torch.cat([ids[i, window.first :] for i, window in enumerate(batch)])
    step = _slice_rows(model.config.get_text_config().vocab_size, device)
    losses = torch.cat(
        [
            F.cross_entropy((split.logits(part) if split else part).float(), wanted, reduction="none")
            for part, wanted in zip(torch.split(rows, step), torch.split(targets, step), strict=True)
        ]
    )
    return [float(part.double().sum()) for part in torch.split(losses, [window.scored for window in batch])]


def _slice_rows(vocabulary: int, device: torch.device) -> int:
    fitting = SLICE_BYTES[device.type] // (4 * vocabulary)
    return min(max(1, fitting), MAX_SLICE_ROWS[device.type])


def measure(bench: Bench) -> dict[str, Any]:
    """Samples of the cell's corpus under its protocol; see the module's docstring."""
    quality = bench.cell.quality
    assert quality is not None, "the runner asks for a probe only where the cell has its settings"
    if quality["protocol"] != "gptq":
        raise ModelError(f"protocol {quality['protocol']!r} is not measured by this qbench; use gptq")
    check_context(bench.model, quality["seqlen"], "quality.seqlen")
    text = bench.text(quality["corpus"])
    windows = gptq_windows(bench.tokenizer, text, quality["seqlen"], quality["max_windows"])
    start_s = time.perf_counter()
    scores = window_nll(bench.model, windows, bench.device)
    return {
        "unit": "nat",
        "protocol": "gptq",
        "corpus": {"name": corpus_name(quality["corpus"]), "sha256": quality["corpus_sha256"]},
        "seqlen": quality["seqlen"],
        "windows": len(windows),
        "tokens": [window.scored for window in windows],
        "nll": [value if math.isfinite(value) else None for value in scores.nll],  # JSON has no NaN
        "head": scores.head,
        "elapsed_s": time.perf_counter() - start_s,
    }
