"""A probe as a third party writes it: the time that the tokenizer takes, and how many tokens it makes."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import ClassVar

from pydantic import Field

from qbench.fields import Count
from qbench.probes.probe import Probe
from qbench.results.columns.column import Gate
from qbench.results.columns.metric import Metric
from qbench.results.columns.raw_series import RawSeries
from qbench.results.store.lookup import number, probe
from qbench.results.store.record import Record
from qbench.section import Section


class TokenizerSpec(Section):
    """Time of the tokenizer."""

    key: ClassVar[str] = "tokenizer"

    repetitions: Count = Field(3, description="Times that the text is tokenized")
    words: Count = Field(100, description="Words in the text")


def seconds(record: Record) -> float | None:
    found = probe(record, "token_time").get("seconds")
    return median(found) if found else None


def tokens(record: Record) -> float | None:
    return number(probe(record, "token_time").get("tokens"))


def series(record: Record) -> Iterator[RawSeries]:
    if found := probe(record, "token_time").get("seconds"):
        yield RawSeries("token_time", "tokenize_s", "s", found, index=range(len(found)))


PROBE = Probe(
    name="token_time",
    settings=TokenizerSpec,
    unit="s",
    description="time of the tokenizer",
    order=45,
    entry="token_time.measure:measure",
    metrics=(
        Metric(
            "tokenizer_s", "s", "lower", "timed", "token_time", 3, "seconds to tokenize the text", seconds
        ),
        Metric(
            "tokenizer_tokens", "", "lower", "deterministic", "token_time", 4,
            "tokens that the text becomes", tokens, gate=Gate(1.01),
        ),
    ),
    clock="whole",
    series=series,
    quantities={"tokenize_s": "seconds to tokenize the text, by repetition"},
)  # fmt: skip
