"""`Cell`: one variant of a suite resolved, with everything that can change a number and nothing else.

A cell's id is a hash of its canonical JSON, so that a record can be recognised whichever suite, run or
order it came from. Names and labels are for people; time-outs and memory limits decide whether a
number comes to be, not which one: none of them enters the id.

The id hashes only what differs from the first version of cells. A field declared with `added` enters it once
it has another value than earlier cells had; a section that is off never does, but for those of the first
version.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from qbench.json_object import JsonObject

EAGER = "eager"
"""The runtime of every cell that was made before there was another."""
PLACES = frozenset({"corpus", "corpus_name", "include"})
"""Keys of a section that say where a text or a file lies, which changes no number; its hash stands beside it
and enters the id."""
_NAMED = ("quality", "calibration", "tasks", "latency", "memory", "energy")
"""Sections that stand under their own names in a cell's JSON, null where they are off. Others stand together
under `sections`, where there are any."""
_HASHED_WHEN_OFF = frozenset(_NAMED) - {"tasks"}
"""Sections of the first version of cells."""
_UNCOUNTED = frozenset({"label", "timeout_s", "memory_limit", "sections", "name", "source", "revision"})
"""Fields of a cell and of its model that do not enter the id as they are."""
_THEN = "then"
Sections = Mapping[str, Mapping[str, Any]]
"""Section → its settings as JSON values."""
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def added(default: Any, *, then: Any = dataclasses.MISSING) -> Any:
    """A field that came after the first version of cells; `then` is the value that earlier cells had, where
    that is another than the default."""
    return field(default=default, metadata={_THEN: default if then is dataclasses.MISSING else then})


@dataclass(frozen=True)
class ModelRef:
    """A model pinned to its exact weights."""

    name: str
    """The reader's name for it; not part of the id."""
    source: str
    """`builtin:NAME`, hub id, folder or GGUF file, as the suite says it; not part of the id: `weights` is."""
    weights: str
    """`sha256:…` over the weight files, `hub:ID@COMMIT`, or `random:SEED:sha256 of the config`."""
    revision: str | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False


@dataclass(frozen=True)
class Cell:
    """Model × method with every parameter × dtype × device × runtime, and how each number is taken."""

    model: ModelRef
    method: str
    params: JsonObject
    """Every parameter of the method, defaults included."""
    dtype: str
    """`fp32`, `bf16` or `fp16`: of the unquantized weights and of the activations."""
    device: str
    """`cpu` or `cuda:N`."""
    label: str
    """The reader's name for method and parameters; not part of the id."""
    layers: JsonObject = field(default_factory=dict)
    """`include`, `exclude`, `overrides`: see `LayersSpec`."""
    sections: Sections = field(default_factory=dict)
    """Settings of the calibration and of each probe that is on, as JSON values; see `qbench.section`."""
    seed: int = 0
    repetition: int = 0
    threads: int | None = None
    """CPU threads; None for one a core."""
    runtime: str = added(EAGER)
    """Runtime of the timed work: `eager`, or `compile` (torch.compile with a static cache)."""
    allow_fallback: bool = False
    """True where a layer may run on another kernel than the one that was asked for."""
    timeout_s: float = 3600.0
    memory_limit: int | None = None
    """Bytes; enforced on the worker process."""

    def identity(self) -> JsonObject:
        """Everything that the id hashes, as plain JSON values."""
        kind: Any = type(self)
        whole = {name: getattr(self, name) for name in _counted(kind)}
        for name, then in _added(kind).items():
            if whole[name] == then:
                del whole[name]
        whole["model"] = {name: getattr(self.model, name) for name in _counted(ModelRef)}
        whole |= dict.fromkeys(_HASHED_WHEN_OFF)
        named, others = _split(self.sections)
        whole |= {name: _without_places(section) for name, section in named.items()}
        if others:
            whole["sections"] = {name: _without_places(section) for name, section in others.items()}
        return whole

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of the canonical JSON of `identity()`."""
        text = _CANONICAL.encode(self.identity())
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """Device, and the runtime where it is another than usual; for people."""
        return self.device if self.runtime == EAGER else f"{self.device} {self.runtime}"

    def to_dict(self) -> JsonObject:
        """The cell as JSON values."""
        whole = dataclasses.asdict(self)
        del whole["sections"]
        return {**whole, **self.stored_sections()}

    def stored_sections(self) -> JsonObject:
        """The sections as they stand in the cell's JSON."""
        named, others = _split(self.sections)
        return {**dict.fromkeys(_NAMED), **named, **({"sections": others} if others else {})}

    @classmethod
    def from_dict(cls, data: JsonObject) -> Self:
        """The cell of these JSON values; raises TypeError for keys that no cell has."""
        own = {name: value for name, value in data.items() if name not in _NAMED}
        named = {name: data[name] for name in _NAMED if data.get(name) is not None}
        sections = {**named, **own.pop("sections", {})}
        kind: Any = cls
        return cls(**{**_added(kind), **own, "model": ModelRef(**data["model"]), "sections": sections})


def _split(sections: Sections) -> tuple[Sections, Sections]:
    """Sections that have a place of their own in a cell's JSON, and the others."""
    named = {name: section for name, section in sections.items() if name in _NAMED}
    return named, {name: section for name, section in sections.items() if name not in _NAMED}


def _without_places(section: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in section.items() if key not in PLACES}


@functools.cache
def _counted(cls: type) -> tuple[str, ...]:
    """Fields that enter the id."""
    return tuple(one.name for one in dataclasses.fields(cls) if one.name not in _UNCOUNTED)


@functools.cache
def _added(cls: type) -> Mapping[str, Any]:
    """Added fields → the value that earlier cells had."""
    return {one.name: one.metadata[_THEN] for one in dataclasses.fields(cls) if _THEN in one.metadata}
