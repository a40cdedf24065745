"""Texts to evaluate on and to calibrate with: built in, from a file, or a hub dataset at a revision."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from qbench.errors import ModelError
from qbench.fields import Corpus, HubCorpus
from qbench.models.builtin import builtin_text
from qbench.section import SuiteFile

OVERLAP_WORDS = 32
"""A run of so many words that stands in both texts is no chance: the one was taken from the other."""


def corpus_name(corpus: Corpus) -> str:
    """A reader's name for it: `builtin:persuasion`, a file's name, or `dataset/config/split`."""
    if isinstance(corpus, HubCorpus):
        return "/".join(part for part in (corpus.dataset, corpus.config, corpus.split) if part)
    return corpus if corpus.startswith("builtin:") else Path(corpus).name


def read_corpus(corpus: Corpus) -> str:
    """The whole text, documents of a dataset joined by a blank line; ModelError if it is not there."""
    if isinstance(corpus, HubCorpus):
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
    return _from_hub(corpus) if isinstance(corpus, HubCorpus) else [read_corpus(corpus)]


def corpus_sha256(documents: Sequence[str]) -> str:
    """Hash of the text, and of where documents end where there are several."""
    return hashlib.sha256("\0".join(documents).encode()).hexdigest()


class Located(TypedDict):
    """A text where it lies, and its hash: what a cell knows of it."""

    corpus: Corpus
    corpus_name: str
    corpus_sha256: str


def located(suite: SuiteFile, section: str, corpus: Corpus) -> Located:
    """The text that a section names, read and hashed; the suite's error where it is not there."""
    where = absolute(suite, corpus)
    return {
        "corpus": where,
        "corpus_name": corpus_name(where),
        "corpus_sha256": corpus_sha256(documents_of(suite, section, where)),
    }


def absolute(suite: SuiteFile, corpus: Corpus) -> Corpus:
    """A text file's path from the suite's; anything else as it is."""
    if isinstance(corpus, HubCorpus) or corpus.startswith("builtin:"):
        return corpus
    return str(suite.path(corpus))


def whole_text(suite: SuiteFile, section: str, corpus: Corpus) -> str:
    """The whole text that a section names, its documents joined by a blank line."""
    return "\n\n".join(documents_of(suite, section, absolute(suite, corpus)))


def documents_of(suite: SuiteFile, section: str, where: Corpus) -> list[str]:
    """The documents of the text that a section names."""
    try:
        return read_documents(where)
    except ModelError as error:
        raise suite.error((section, "corpus"), str(error)) from error


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


def _from_hub(corpus: HubCorpus) -> list[str]:
    from datasets import load_dataset

    try:
        rows = load_dataset(corpus.dataset, corpus.config, split=corpus.split, revision=corpus.revision)
        return list(rows[corpus.column])
    except Exception as error:
        raise ModelError(
            f"dataset {corpus_name(corpus)!r} did not come from the hub: {type(error).__name__}: "
            f"{str(error).splitlines()[0]}. Without a network use builtin:persuasion or a text file"
        ) from error
