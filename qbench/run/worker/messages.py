"""Typed messages between a parent, the server and a worker, and their form on the wire.

A message is one JSON object on a line. Events carry their name under `event`, requests for a job theirs under
`kind`, grants neither: their keys are protocol 1's, which servers of older versions speak too. A key that a
message does not know is ignored; a field whose default is None is left out while it is None.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError


@dataclass(frozen=True)
class Message:
    """A message; its fields are the keys of its JSON object."""

    def to_wire(self) -> dict[str, Any]:
        """The JSON object of the message."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        optional = {one.name for one in dataclasses.fields(self) if one.default is None}
        return {name: value for name, value in values.items() if value is not None or name not in optional}


@dataclass(frozen=True)
class WireEvent(Message):
    """A message to the parent, known by its key `event`."""

    _: KW_ONLY
    event: str = ""

    def to_wire(self) -> dict[str, Any]:
        return {"event": self.event, **super().to_wire()}


def encode(message: Message) -> bytes:
    """The message as a line; ValueError where it holds a number that JSON has not."""
    return json.dumps(message.to_wire(), allow_nan=False).encode() + b"\n"


# --- from a worker ---


@dataclass(frozen=True)
class Started(WireEvent):
    """The worker's process lives and has not read its request."""

    event: Literal["started"] = field(default="started", kw_only=True)


@dataclass(frozen=True)
class Phase(WireEvent):
    """A named stretch of work begins."""

    name: str
    timed: bool = False
    event: Literal["phase"] = field(default="phase", kw_only=True)


@dataclass(frozen=True)
class Part(WireEvent):
    """One finished piece of the record."""

    key: str
    value: Any
    event: Literal["part"] = field(default="part", kw_only=True)


@dataclass(frozen=True)
class MemoryNeeds(WireEvent):
    """Bytes of memory that the worker has taken until now: `host`, `device`, `device_free`."""

    bytes: dict[str, int | None]
    event: Literal["needs"] = field(default="needs", kw_only=True)


@dataclass(frozen=True)
class Want(WireEvent):
    """The worker sleeps until it is granted the machine: for a whole phase, or for a slot of its rounds."""

    phase: str | None = None
    stage: int | None = None
    """Progress of the rounds; None for a whole phase."""
    event: Literal["want"] = field(default="want", kw_only=True)


@dataclass(frozen=True)
class Release(WireEvent):
    """The worker gives the machine back."""

    event: Literal["release"] = field(default="release", kw_only=True)


@dataclass(frozen=True)
class RoundsOver(WireEvent):
    """The worker asks for no further slot of its rounds."""

    event: Literal["rounds_over"] = field(default="rounds_over", kw_only=True)


@dataclass(frozen=True)
class WarmWorkload(WireEvent):
    """One prompt length × batch size is warm and can be timed on request."""

    value: dict[str, Any]
    event: Literal["corner"] = field(default="corner", kw_only=True)


@dataclass(frozen=True)
class Answer(WireEvent):
    """The outcome of a request."""

    errand: str
    value: Any
    event: Literal["did"] = field(default="did", kw_only=True)


@dataclass(frozen=True)
class Failure(WireEvent):
    """An exception ended the worker's job."""

    status: Literal["failed", "oom"]
    type: str
    message: str
    traceback: str = ""
    peak_rss_bytes: int = 0
    event: Literal["error"] = field(default="error", kw_only=True)


@dataclass(frozen=True)
class Done(WireEvent):
    """The worker has done its job."""

    event: Literal["done"] = field(default="done", kw_only=True)


@dataclass(frozen=True)
class Unknown:
    """An event that this version does not know; it is ignored."""

    event: str


@dataclass(frozen=True)
class Malformed:
    """A line that is no message."""

    why: str


_Progress = Started | Phase | Part | MemoryNeeds | RoundsOver | Done
Said = _Progress | Want | Release | WarmWorkload | Answer | Failure
WorkerEvent = Said | Unknown | Malformed


# --- from the server ---


@dataclass(frozen=True)
class Ready(WireEvent):
    """The server can fork workers; facts of its version."""

    seconds: float = 0.0
    """Time of its start."""
    threads: int = 0
    modules: tuple[str, ...] = ()
    protocol: int | None = None
    version: str = ""
    folder: str = ""
    strange_modules: tuple[str, ...] = ()
    """Modules of qbench that were found outside `folder`."""
    event: Literal["ready"] = field(default="ready", kw_only=True)


@dataclass(frozen=True)
class Forked(WireEvent):
    """A worker was forked for the oldest request that has none."""

    pid: int
    event: Literal["forked"] = field(default="forked", kw_only=True)


@dataclass(frozen=True)
class Exited(WireEvent):
    """A worker has ended; a negative code is the signal that killed it."""

    pid: int
    code: int
    peak_rss_bytes: int
    event: Literal["exited"] = field(default="exited", kw_only=True)


ServerEvent = Ready | Forked | Exited | Unknown | Malformed


# --- to a worker: its job ---


@dataclass(frozen=True)
class Work(Message):
    """The first message to a worker: what its job is."""

    kind: ClassVar[str]

    def to_wire(self) -> dict[str, Any]:
        return {"kind": self.kind, **super().to_wire()}


@dataclass(frozen=True)
class MeasureCell(Work):
    """Load, quantize, probe: one cell of a suite."""

    kind: ClassVar[str] = "cell"
    cell: dict[str, Any]


@dataclass(frozen=True)
class KeepBaseOutputs(Work):
    """Keep the outputs of the cell's unquantized model."""

    kind: ClassVar[str] = "base"
    cell: dict[str, Any]


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
    cell: dict[str, Any]
    folder: str
    origin: dict[str, Any]


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
    cell: dict[str, Any]
    probes: bool
    """Whether the deterministic probes run too."""
    turns: bool
    """Whether requests follow."""


WORKS: dict[str, type[Work]] = {
    work.kind: work
    for work in (MeasureCell, KeepBaseOutputs, MeasurePeakRates, SaveQuantized, PlanSuite, TimeRounds)
}


# --- to a worker: grants of the machine ---


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

_SAID: TypeAdapter[Said] = TypeAdapter(Annotated[Said, Field(discriminator="event")])
_SERVER: TypeAdapter[Ready | Forked | Exited] = TypeAdapter(
    Annotated[Ready | Forked | Exited, Field(discriminator="event")]
)
_GRANT: TypeAdapter[Grant] = TypeAdapter(Request | Slot | Go)
_WORK: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
_Known = TypeVar("_Known")


def worker_event(line: bytes) -> WorkerEvent:
    """The event of one line from a worker."""
    return _event(line, _SAID)


def server_event(line: bytes) -> ServerEvent:
    """The event of one line from a server."""
    return _event(line, _SERVER)


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


def _event(line: bytes, known: TypeAdapter[_Known]) -> _Known | Unknown | Malformed:
    try:
        value = json.loads(line)
        return known.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "union_tag_invalid" and isinstance(value["event"], str):
            return Unknown(value["event"])
        where = ".".join(map(str, first["loc"]))
        return Malformed(f"{where}: {first['msg']}" if where else first["msg"])
    except ValueError as error:  # no JSON, or no UTF-8
        return Malformed(f"not a JSON line: {error}")
