"""`WorkerProcess`: a worker that the local server has forked."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from qbench.run.worker.events import WorkerEvent, worker_event
from qbench.run.worker.messages import Message, encode


class Lines:
    """Lines from a socket, cut as they arrive."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._rest = b""
        self.closed = False

    def read(self) -> list[bytes]:
        """Whole lines that have arrived; blocks only where nothing has."""
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
        *whole, self._rest = (self._rest + data).split(b"\n")
        return whole


@dataclass(eq=False)
class WorkerProcess:
    """The process of one worker: its socket, its events, its time limit and its end."""

    lines: Lines
    started: float
    deadline: float
    log: Path
    pid: int | None = None
    events: deque[WorkerEvent] = field(default_factory=deque)
    exit_code: int | None = None
    """None while it lives; negative for the signal that killed it."""
    peak_rss_bytes: int = 0
    timed_out: bool = False
    suspended: bool = False
    _left: float = math.inf
    """Seconds to the deadline while it is held."""

    def send(self, message: Message) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died; its exit is on its way
            self.lines.sock.sendall(encode(message))

    def hear(self) -> None:
        """Takes in the events that have arrived; blocks only where nothing has."""
        self.events.extend(map(worker_event, self.lines.read()))

    def hold(self) -> None:
        """Stops the clock of the deadline while the worker waits for the machine."""
        self._left = self.deadline - time.monotonic()
        self.deadline = math.inf

    def renew(self, seconds: float) -> None:
        """Sets the time limit of a worker that is held, from its next grant on."""
        self._left = seconds

    def go_on(self) -> None:
        """Continues worker and clock where they stood."""
        self.deadline = time.monotonic() + self._left
        if self.suspended:
            self._signal(signal.SIGCONT)
            self.suspended = False

    def suspend(self) -> None:
        """Halts all threads and children of a worker that waits; `hold` has stopped its clock already."""
        if not self.suspended and self.pid is not None:
            self._signal(signal.SIGSTOP)
            self.suspended = True

    def _signal(self, number: int) -> None:
        assert self.pid is not None, "a worker has a process id before it is signalled"
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it died; its exit is on its way
            os.killpg(self.pid, number)

    def log_tail(self, characters: int = 4000) -> str:
        """The end of the worker's output, without the long list of modules in a crash report."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith("Extension modules:"))[-characters:]
