"""Corpora: read strictly, hashed, and an overlap of evaluation and calibration is found."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.errors import ModelError
from qbench.fields import HubCorpus
from qbench.models.builtin import TEXTS
from qbench.models.corpora import OVERLAP_WORDS, corpus_name, corpus_sha256, overlap, read_corpus


def test_builtin_texts_are_read_whole() -> None:
    for name, path in TEXTS.items():
        text = read_corpus(f"builtin:{name}")
        assert corpus_sha256([text]) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_builtin_calibration_does_not_overlap_the_evaluation() -> None:
    assert overlap(read_corpus("builtin:persuasion"), read_corpus("builtin:calibration")) is None


@given(st.integers(0, 400), st.integers(0, 300))
def test_a_shared_passage_of_twice_the_length_is_found_wherever_it_stands(at: int, to: int) -> None:
    evaluation = [f"e{i}" for i in range(500)]
    calibration = [f"c{i}" for i in range(300)]
    passage = evaluation[at : at + 2 * OVERLAP_WORDS]
    mixed = " ".join([*calibration[:to], *passage, *calibration[to:]])
    found = overlap(" ".join(evaluation), mixed)
    assert found is not None
    assert found in " ".join(passage)
    assert overlap(" ".join(evaluation), " ".join(calibration)) is None


@pytest.mark.parametrize(
    ("content", "said"), [(b"\xff\xfe", "UTF-8"), (b" \n", "is empty"), (None, "cannot be read")]
)
def test_a_text_that_cannot_be_used_says_why(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=said):
        read_corpus(str(path))


def test_names_are_for_readers() -> None:
    assert corpus_name("builtin:persuasion") == "builtin:persuasion"
    assert corpus_name("/a/b/wiki.txt") == "wiki.txt"
    assert corpus_name(HubCorpus(dataset="o/w", config="raw", split="test")) == "o/w/raw/test"
