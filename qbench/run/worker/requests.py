"""Typed messages to a worker: its job, and grants of the machine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import TypeAdapter

from qbench.json_object import JsonObject
from qbench.run.worker.messages import Message


@dataclass(frozen=True)
class Work(Message):
    """The first message to a worker: what its job is."""

    kind: ClassVar[str]

    def to_wire(self) -> JsonObject:
        return {"kind": self.kind, **super().to_wire()}


@dataclass(frozen=True)
class MeasureCell(Work):
    """Load, quantize, probe: one cell of a suite."""

    kind: ClassVar[str] = "cell"
    cell: JsonObject


@dataclass(frozen=True)
class KeepBaseOutputs(Work):
    """Keep the outputs of the cell's unquantized model."""

    kind: ClassVar[str] = "base"
    cell: JsonObject


@dataclass(frozen=True)
class MeasurePeakRates(Work):
    """Measure the device's bandwidth and GEMM rates."""

    kind: ClassVar[str] = "ceilings"
    device: str
    threads: int | None = field(kw_only=True, default=None)


@dataclass(frozen=True)
class SaveQuantized(Work):
    """Quantize the cell's model and save it under `folder`."""

    kind: ClassVar[str] = "quantize"
    cell: JsonObject
    folder: str
    origin: JsonObject


@dataclass(frozen=True)
class PlanSuite(Work):
    """Plan a suite as the worker's version does."""

    kind: ClassVar[str] = "plan"
    text: str
    file: str
    rules: list[Any]


@dataclass(frozen=True)
class TimeRounds(Work):
    """Load one version's end of a cell and carry out requests."""

    kind: ClassVar[str] = "rounds"
    cell: JsonObject
    probes: bool
    """True where the deterministic probes run too."""
    turns: bool
    """True where requests follow."""


WORKS: dict[str, type[Work]] = {
    work.kind: work
    for work in (MeasureCell, KeepBaseOutputs, MeasurePeakRates, SaveQuantized, PlanSuite, TimeRounds)
}


@dataclass(frozen=True)
class Go(Message):
    """The machine is granted for a whole phase."""

    go: Literal[True] = True
    siblings: tuple[int, ...] = ()
    """Process ids of qbench's other workers on this device."""


@dataclass(frozen=True)
class Slot(Message):
    """The machine is granted for one round."""

    lap: int
    """Block of paired rounds."""
    place: int
    """Place within the block, from 0."""
    since_s: float
    """`perf_counter` at the beginning of the first block, on the worker's machine."""
    since_utc: str
    """The same instant as UTC; empty where the rounds are paired with no others."""
    siblings: tuple[int, ...] = ()


@dataclass(frozen=True)
class Request(Message):
    """The machine is granted for one request of a paired run."""

    errand: Literal["round", "quantize", "energy", "over"]
    corner: int | None = None
    siblings: tuple[int, ...] = ()


Grant = Go | Slot | Request

_GRANT: TypeAdapter[Grant] = TypeAdapter(Request | Slot | Go)
_WORK: TypeAdapter[JsonObject] = TypeAdapter(JsonObject)


def read_grant(line: bytes) -> Grant:
    """The parent's word to a worker that waits; ValueError for a line that is none."""
    return _GRANT.validate_python(json.loads(line))


def read_work(line: bytes) -> Work:
    """A worker's job; ValueError for a line that is none, or for a kind that this version does not know."""
    values = _WORK.validate_python(json.loads(line))
    kind = values.pop("kind", None)
    if kind not in WORKS:
        raise ValueError(f"a worker has no job {kind!r}; this version knows {', '.join(WORKS)}")
    found: Work = TypeAdapter(WORKS[kind]).validate_python(values)
    return found
