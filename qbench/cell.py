"""`Cell`: one corner of the matrix, with everything that can change a number and nothing else.

A cell's id is a hash of its canonical JSON, so that a record can be recognised whichever suite, run or
order it came from. Names and labels are for people; time-outs and memory limits decide whether a
number comes to be, not which one: none of them enters the id.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

EAGER = "eager"
"""The runtime of every cell that was made before there was another; the id says only what differs from it,
so that those keep theirs."""
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


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
    params: dict[str, Any]
    """Every parameter of the method, defaults included."""
    dtype: str
    """`fp32`, `bf16` or `fp16`: of the unquantized weights and of the activations."""
    device: str
    """`cpu` or `cuda:N`."""
    label: str
    """The reader's name for method and parameters; not part of the id."""
    layers: dict[str, Any] = field(default_factory=dict)
    """`include`, `exclude`, `overrides`: see `LayersSpec`."""
    quality: dict[str, Any] | None = None
    """`corpus`, `corpus_name`, `corpus_sha256`, protocol, seqlen, max_windows;
    None when the suite asks for no quality."""
    calibration: dict[str, Any] | None = None
    """The same three of the corpus, samples, seqlen, seed; None for a method that needs none."""
    tasks: dict[str, Any] | None = None
    """The settings, the hash of each name's files and lm-eval's version; where the folder `include` lies is
    no part of the id. None when the suite names no tasks, and then no part of it at all."""
    latency: dict[str, Any] | None = None
    memory: dict[str, Any] | None = None
    energy: dict[str, Any] | None = None
    seed: int = 0
    repetition: int = 0
    threads: int | None = None
    """CPU threads; None for one a core."""
    runtime: str = EAGER
    """What runs the timed work: `eager`, or `compile` (torch.compile with a static cache)."""
    allow_fallback: bool = False
    """Whether a layer may run on another kernel than the one that was asked for."""
    timeout_s: float = 3600.0
    memory_limit: int | None = None
    """Bytes; enforced on the worker process."""

    def identity(self) -> dict[str, Any]:
        """Everything that the id hashes, as plain JSON values."""
        whole = {name: getattr(self, name) for name in _COUNTED}
        whole["model"] = {name: getattr(self.model, name) for name in _MODEL_COUNTED}
        if self.runtime == EAGER:
            del whole["runtime"]
        for section in ("quality", "calibration"):
            if whole[section]:  # where a text lies changes no number; its hash stays
                whole[section] = {
                    key: value
                    for key, value in whole[section].items()
                    if key not in ("corpus", "corpus_name")
                }
        if self.tasks is None:  # so that cells have the ids that they had before there were tasks
            del whole["tasks"]
        else:
            whole["tasks"] = {key: value for key, value in self.tasks.items() if key != "include"}
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

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(**{**data, "model": ModelRef(**data["model"])})


def _fields(cls: type, *left_out: str) -> tuple[str, ...]:
    return tuple(one.name for one in dataclasses.fields(cls) if one.name not in left_out)


_COUNTED = _fields(Cell, "label", "timeout_s", "memory_limit")
_MODEL_COUNTED = _fields(ModelRef, "name", "source", "revision")
