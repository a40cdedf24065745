"""Types of values in a suite file: names, paths, counts, sizes, switches, texts."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

Dtype = Literal["fp32", "bf16", "fp16"]
Runtime = Literal["eager", "compile"]
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_ONE_LINE)]
Place = Annotated[str, Field(min_length=1, max_length=4096, pattern=_ONE_LINE)]
"""A name or a path."""
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Rule = dict[str, Any]
"""Key → value, pattern (`*`, `?`), or list of either; see `qbench.suite.matrix.matches`."""

_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def parse_bytes(value: object) -> object:
    """`8GiB` or `500 MB` as a number of bytes; anything but text is passed on. Raises ValueError."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([A-Za-z]+)", value)
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"is no size; write a number and a unit ({', '.join(_BYTES)}), such as 8GiB")
    return int(float(match[1]) * _BYTES[match[2]])


def _switch(value: object) -> object:
    if value is None:
        raise ValueError("is empty; write false to switch it off, true for its defaults, or its settings")
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


def switched(spec: type[BaseModel]) -> BeforeValidator:
    """Reads a section, `true` for its defaults, or `false` for off (None in Python)."""
    return BeforeValidator(_switch, json_schema_input_type=spec | bool)


class Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class HubCorpus(Spec):
    """A text dataset on the hub."""

    dataset: Name = Field(description="Hub id of the dataset, such as Salesforce/wikitext")
    config: Name | None = Field(None, description="Name of its configuration, such as wikitext-2-raw-v1")
    split: Name = Field("test", description="Which split to read")
    column: Name = Field("text", description="The column that holds the text")
    revision: Name | None = Field(None, description="Branch, tag or commit; a commit pins the text")


def _corpus_kind(value: object) -> str:
    return "mapping" if isinstance(value, dict | HubCorpus) else "text"


Corpus = Annotated[
    Annotated[Place, Tag("text")] | Annotated[HubCorpus, Tag("mapping")], Discriminator(_corpus_kind)
]
"""`builtin:NAME`, a text file relative to the suite's file, or a hub dataset."""
