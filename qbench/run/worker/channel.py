"""The worker's end of its socket: events are sent as they happen, so that a crash loses only what was
unsaid."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qbench.measure import bench
from qbench.run.worker.events import Part, Phase, Release, Want, WireEvent
from qbench.run.worker.messages import encode
from qbench.run.worker.requests import Grant, Request, Slot, Work, read_grant, read_work


class Channel:
    """Typed messages over the worker's socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._stream = sock.makefile("rwb")
        self._waited_s = 0.0
        """Seconds that it has waited for the machine."""
        self.siblings: tuple[int, ...] = ()
        """Process ids of qbench's other workers on this device, as of the last time the machine was
        granted."""

    def work(self) -> Work:
        """The worker's job; ValueError where the parent asks for none that this version knows."""
        return read_work(self._line())

    def send(self, event: WireEvent) -> None:
        self._stream.write(encode(event))
        self._stream.flush()

    @contextmanager
    def phase(self, name: str, *, timed: bool) -> Iterator[None]:
        """A named stretch of work whose seconds, less those of waiting, go into the record.

        A timed phase has the machine for itself: it waits until no other worker computes.
        """
        if timed:
            self._await_machine(Want(phase=name))
        self.send(Phase(name, timed))
        started, waited_s = time.perf_counter(), self._waited_s
        try:
            yield
        finally:
            elapsed_s = time.perf_counter() - started - (self._waited_s - waited_s)
            self.part("phases", {name: elapsed_s})
            if timed:
                self.send(Release())

    @contextmanager
    def slot(self, stage: int) -> Iterator[bench.Slot]:
        """One round that has the machine for itself, in a slot between those of the cells that it is compared
        with.

        `stage` is the progress of this worker: the parent lets those go first that are furthest behind.
        """
        given = self._await_machine(Want(stage=stage))
        if not isinstance(given, Slot):
            raise TypeError(f"the parent granted {given} to a worker that asked for a slot")
        try:
            yield bench.Slot(given.lap, given.place, given.since_s, given.since_utc)
        finally:
            self.send(Release())

    @contextmanager
    def request(self) -> Iterator[Request]:
        """The parent's next request, with the machine alone until it is done; see `rounds.py`."""
        given = self._await_machine(Want(stage=0))
        if not isinstance(given, Request):
            raise TypeError(f"the parent granted {given} to a worker that asked for a request")
        try:
            yield given
        finally:
            self.send(Release())

    def part(self, key: str, value: Any) -> None:
        """One finished piece of the record: a dict is merged into what was said under `key` before."""
        self.send(Part(key, value))

    def _await_machine(self, want: Want) -> Grant:
        """Asks for the machine and sleeps until the parent grants it."""
        started = time.perf_counter()
        self.send(want)
        given = read_grant(self._line())
        self._waited_s += time.perf_counter() - started
        self.siblings = given.siblings
        return given

    def _line(self) -> bytes:
        line = self._stream.readline()
        if not line:
            raise EOFError("the parent is gone")
        return line
