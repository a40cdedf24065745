"""Protocols: how a text becomes windows of tokens, and which tokens of a window are scored.

A perplexity means nothing without its protocol (Llama-2-7B: 5.47, 5.12 or 8.71), so each is a function from
documents to `Window`s, written after its reference, and its name stands in the cell and the record.

- `gptq` (IST-DASLab/gptq `opt.py`, `llama.py`): the text is tokenized once with the tokenizer's default call
  (one that prepends a BOS prepends one to the whole text); disjoint windows of `seqlen` tokens; the tail that
  fills no window is dropped; the `seqlen − 1` next tokens of each window are scored.
- `lm-eval` (lm-evaluation-harness `loglikelihood_rolling`): each document apart, a prefix token first (BOS,
  else EOS); disjoint runs of `seqlen` tokens, all of them scored, the first of a run given the token before
  it, the last one as much as fits.
- `strided` (transformers, "Perplexity of fixed-length models"): windows of `seqlen` tokens that begin every
  `stride` tokens; only those that no window before has scored. Each window's mean counts with one token less
  than it scores, as in the documented loop.
- `llama.cpp` (`llama-perplexity`): disjoint windows of `seqlen` tokens, the first replaced by BOS where the
  tokenizer prepends one; the second half of each is scored, but for its first token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from qbench.errors import ModelError


@dataclass(frozen=True)
class Window:
    """Token ids, of which those from position `first` on are scored, each given all before it."""

    ids: Sequence[int]
    first: int = 1
    weight: int | None = None
    """Tokens that the window's mean stands for, where that is not the number it scores."""

    def __post_init__(self) -> None:
        if not 1 <= self.first < len(self.ids):
            raise ValueError(
                f"a window of {len(self.ids)} tokens cannot be scored from position {self.first}"
            )

    @property
    def scored(self) -> int:
        return len(self.ids) - self.first

    @property
    def counted(self) -> int:
        return self.scored if self.weight is None else self.weight


@dataclass(frozen=True)
class Cut:
    """A text under a protocol."""

    windows: list[Window]
    words: int | None = None
    """Words of the text, where every token of it is scored; a word is what white space parts."""
    bytes: int | None = None
    """Bytes of its UTF-8, likewise."""


@dataclass(frozen=True)
class Rule:
    """A suite's settings of the windows."""

    seqlen: int
    stride: int
    max_windows: int | None = None


def cut(protocol: str, tokenizer: Any, documents: Sequence[str], rule: Rule) -> Cut:
    """The windows of `protocol`, at most `max_windows`; ModelError where the text gives none."""
    windows = list(PROTOCOLS[protocol](tokenizer, documents, rule))
    if not windows:
        tokens = sum(len(_ids(tokenizer, text)) for text in documents)
        raise ModelError(
            f"the text has {tokens} tokens, one window needs {rule.seqlen}; lower quality.seqlen or add text"
        )
    kept = windows[: rule.max_windows]
    if protocol != "lm-eval" or len(kept) < len(windows):
        return Cut(kept)
    return Cut(
        kept,
        words=sum(len(re.split(r"\s+", text)) for text in documents),
        bytes=sum(len(text.encode()) for text in documents),
    )


def gptq(tokenizer: Any, documents: Sequence[str], rule: Rule) -> Iterator[Window]:
    for ids in _runs(_ids(tokenizer, "\n\n".join(documents)), rule.seqlen):
        yield Window(ids)


def lm_eval(tokenizer: Any, documents: Sequence[str], rule: Rule) -> Iterator[Window]:
    prefix = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    if prefix is None:
        raise ModelError("protocol lm-eval needs a tokenizer with a BOS or EOS token; use protocol gptq")
    for text in documents:
        # lm-eval adds no second BOS to a text that begins with one
        plain = {"add_special_tokens": False} if text.startswith(tokenizer.decode([prefix])) else {}
        ids = [prefix, *_ids(tokenizer, text, **plain)]
        for start in range(0, len(ids) - 1, rule.seqlen):
            end = min(start + rule.seqlen, len(ids) - 1)
            begin = max(0, end - rule.seqlen)  # the last run sees as much before it as fits
            yield Window(ids[begin : end + 1], start - begin + 1)


def strided(tokenizer: Any, documents: Sequence[str], rule: Rule) -> Iterator[Window]:
    ids = _ids(tokenizer, "\n\n".join(documents))
    done = 0
    for start in range(0, len(ids), rule.stride):
        end = min(start + rule.seqlen, len(ids))
        fresh = end - done
        # a label is counted less than is there: the loss of a whole window shifts its labels by one
        first = max(1, end - start - fresh)
        if end - start > first and fresh > 1:
            yield Window(ids[start:end], first, weight=fresh - 1)
        done = end
        if end == len(ids):
            return


def llama_cpp(tokenizer: Any, documents: Sequence[str], rule: Rule) -> Iterator[Window]:
    ids = _ids(tokenizer, "\n\n".join(documents))
    bos = tokenizer.bos_token_id
    adds_bos = bos is not None and ids[:1] == [bos]
    for run in _runs(ids, rule.seqlen):
        yield Window([bos, *run[1:]] if adds_bos else run, rule.seqlen // 2 + 1)


PROTOCOLS: dict[str, Callable[[Any, Sequence[str], Rule], Iterator[Window]]] = {
    "gptq": gptq,
    "lm-eval": lm_eval,
    "strided": strided,
    "llama.cpp": llama_cpp,
}


def _ids(tokenizer: Any, text: str, **options: bool) -> list[int]:
    ids: list[int] = tokenizer(text, verbose=False, **options)["input_ids"]
    return ids


def _runs(ids: list[int], length: int) -> Iterator[list[int]]:
    """Disjoint runs of `length` tokens; the tail that fills none is dropped."""
    for start in range(0, len(ids) - length + 1, length):
        yield ids[start : start + length]
