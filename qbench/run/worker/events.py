"""Typed events from a worker and from the server that forks workers."""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from qbench.json_object import JsonObject
from qbench.run.worker.messages import Message


@dataclass(frozen=True)
class WireEvent(Message):
    """A message to the parent, known by its key `event`."""

    _: KW_ONLY
    event: str = ""

    def to_wire(self) -> JsonObject:
        return {"event": self.event, **super().to_wire()}


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

    value: JsonObject
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

_SAID: TypeAdapter[Said] = TypeAdapter(Annotated[Said, Field(discriminator="event")])
_SERVER: TypeAdapter[Ready | Forked | Exited] = TypeAdapter(
    Annotated[Ready | Forked | Exited, Field(discriminator="event")]
)
_Known = TypeVar("_Known")


def worker_event(line: bytes) -> WorkerEvent:
    """The event of one line from a worker."""
    return _event(line, _SAID)


def server_event(line: bytes) -> ServerEvent:
    """The event of one line from a server."""
    return _event(line, _SERVER)


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
