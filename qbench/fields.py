"""Types of values in a suite file: names, paths, counts, sizes, switches, texts."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Discriminator, Field, Tag, TypeAdapter

Dtype = Literal["fp32", "bf16", "fp16"]
Runtime = Literal["eager", "compile"]
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_ONE_LINE)]
Place = Annotated[str, Field(min_length=1, max_length=4096, pattern=_ONE_LINE)]
"""A name or a path."""
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Rule = dict[str, Any]
"""Key → value, pattern (`*`, `?`), or list of either; see `qbench.suite.rules.fits`."""

_WRITTEN_SIZE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})? ?(B|[kMGT]B|[KMGT]iB)")
"""Stricter than pydantic's `ByteSize`, which also reads bits and takes `Mb` for a megabyte."""
_BYTE_SIZE = TypeAdapter(ByteSize)


def parse_bytes(value: object) -> object:
    """`8GiB` or `500 MB` as a number of bytes; anything but text is passed on. Raises ValueError."""
    if not isinstance(value, str):
        return value
    if not _WRITTEN_SIZE.fullmatch(value):
        units = "B, kB, MB, GB, TB, KiB, MiB, GiB, TiB"
        raise ValueError(f"is no size; write a number and a unit ({units}), such as 8GiB")
    return int(_BYTE_SIZE.validate_python(value))


def one_line(text: str) -> str:
    """The text, or where it holds line breaks and the like, the text as JSON."""
    return text if text.isprintable() else json.dumps(text)


def value_text(value: object, limit: int = 60) -> str:
    """A value on one line, as JSON, cut short past `limit` characters."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    text = text if text.isprintable() else json.dumps(value, default=repr)
    return text if len(text) <= limit else f"{text[:limit]}…"


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
