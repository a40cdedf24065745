"""What a worker says to its parent, as it happens, so that a crash loses only what was unsaid."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qbench.measure.bench import Turn


class Channel:
    """The worker's end of its job socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._stream = sock.makefile("rwb")
        self._waited_s = 0.0
        """For the machine, until now."""
        self.siblings: tuple[int, ...] = ()
        """Process ids of qbench's other workers on this device, as of the last time the machine was given."""

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
        """A named stretch of work whose seconds, less those of waiting, go into the record.

        A timed phase has the machine for itself: it waits until no other worker computes.
        """
        if timed:
            self._await_machine(phase=name)
        self.send("phase", name=name, timed=timed)
        started, waited_s = time.perf_counter(), self._waited_s
        try:
            yield
        finally:
            elapsed_s = time.perf_counter() - started - (self._waited_s - waited_s)
            self.send("part", key="phases", value={name: elapsed_s})
            if timed:
                self.send("release")

    @contextmanager
    def turn(self, stage: int) -> Iterator[Turn]:
        """One round that has the machine for itself, in turns with the workers that it is compared with.

        `stage` says how far this worker is: the parent lets those go first that are furthest behind.
        """
        given = self._await_machine(stage=stage)
        try:
            yield Turn(given["lap"], given["place"], given["since_s"], given["since_utc"])
        finally:
            self.send("release")

    @contextmanager
    def errand(self) -> Iterator[dict[str, Any]]:
        """The parent's next wish, with the machine alone until it is done; see `rounds.py`."""
        word = self._await_machine(stage=0)
        try:
            yield word
        finally:
            self.send("release")

    def part(self, key: str, value: Any) -> None:
        """One finished piece of the record: a dict is merged into what was said under `key` before."""
        self.send("part", key=key, value=value)

    def _await_machine(self, **data: Any) -> dict[str, Any]:
        """Asks for the machine and sleeps until the parent's word to go."""
        started = time.perf_counter()
        self.send("want", **data)
        word = self.receive()
        self._waited_s += time.perf_counter() - started
        self.siblings = tuple(word.get("siblings", ()))
        return word
