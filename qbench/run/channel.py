"""What a worker says to its parent, as it happens, so that a crash loses only what was unsaid."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Channel:
    """The worker's end of its job socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._stream = sock.makefile("rwb")

    def receive(self) -> dict[str, Any]:
        line = self._stream.readline()
        if not line:
            raise EOFError("the parent is gone")
        message: dict[str, Any] = json.loads(line)
        return message

    def send(self, event: str, **data: Any) -> None:
        self._stream.write(json.dumps({"event": event, **data}, allow_nan=False).encode() + b"\n")
        self._stream.flush()

    @contextmanager
    def phase(self, name: str, *, timed: bool) -> Iterator[None]:
        """A named stretch of work whose seconds go into the record.

        A timed phase has the machine for itself: it waits until no other worker computes.
        """
        if timed:
            self.send("want", phase=name)
            self.receive()  # the parent's word to go
        self.send("phase", name=name, timed=timed)
        started = time.perf_counter()
        try:
            yield
        finally:
            self.send("part", key="phases", value={name: time.perf_counter() - started})
            if timed:
                self.send("release")

    def part(self, key: str, value: Any) -> None:
        """One finished piece of the record: a dict is merged into what was said under `key` before."""
        self.send("part", key=key, value=value)
