"""Texts to evaluate on and to calibrate with: built in, from a file, or a hub dataset at a revision."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qbench.errors import ModelError
from qbench.models.builtin import builtin_text

Corpus = str | dict[str, Any]
"""`builtin:NAME`, a text file's path, or {dataset, config, split, column, revision} of a hub dataset."""

OVERLAP_WORDS = 32
"""A run of so many words that stands in both texts is no chance: the one was taken from the other."""


def corpus_name(corpus: Corpus) -> str:
    """How a reader names it: `builtin:persuasion`, a file's name, or `dataset/config/split`."""
    if isinstance(corpus, dict):
        return "/".join(str(corpus[key]) for key in ("dataset", "config", "split") if corpus.get(key))
    return corpus if corpus.startswith("builtin:") else Path(corpus).name


def read_corpus(corpus: Corpus) -> str:
    """The whole text, documents of a dataset joined by a blank line; ModelError if it is not there."""
    if isinstance(corpus, dict):
        return "\n\n".join(_from_hub(corpus))
    path = builtin_text(corpus.removeprefix("builtin:")) if corpus.startswith("builtin:") else Path(corpus)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"corpus {corpus!r} cannot be read as UTF-8 text: {error}") from error
    if not text.strip():
        raise ModelError(f"corpus {corpus!r} is empty")
    return text


def read_documents(corpus: Corpus) -> list[str]:
    """The documents of a dataset, or the one that a text file is; ModelError if it is not there."""
    return _from_hub(corpus) if isinstance(corpus, dict) else [read_corpus(corpus)]


def corpus_sha256(documents: Sequence[str]) -> str:
    """Of the text, and of where documents end where there are several."""
    return hashlib.sha256("\0".join(documents).encode()).hexdigest()


def overlap(evaluation: str, calibration: str, words: int = OVERLAP_WORDS) -> str | None:
    """A run of `words` words that stands in both texts, or None.

    Blocks of the evaluation text are looked for at every position of the calibration text, so a shared
    passage of twice that length cannot be missed.
    """
    tested = evaluation.split()
    blocks = {tuple(tested[i : i + words]) for i in range(0, len(tested) - words + 1, words)}
    studied = calibration.split()
    for i in range(len(studied) - words + 1):
        if (run := tuple(studied[i : i + words])) in blocks:
            return " ".join(run)
    return None


def _from_hub(corpus: dict[str, Any]) -> list[str]:
    from datasets import load_dataset

    try:
        rows = load_dataset(
            corpus["dataset"],
            corpus.get("config"),
            split=corpus.get("split", "test"),
            revision=corpus.get("revision"),
        )
        return list(rows[corpus.get("column", "text")])
    except Exception as error:
        raise ModelError(
            f"dataset {corpus_name(corpus)!r} did not come from the hub: {type(error).__name__}: "
            f"{str(error).splitlines()[0]}. Without a network use builtin:persuasion or a text file"
        ) from error
