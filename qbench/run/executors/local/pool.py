"""The parent's end of the warm server: jobs that are started, spoken with and ended.

`Pool.wait` sleeps in one system call until a worker says something, dies, or a deadline passes: while a
worker measures, the parent uses no processor.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qbench.errors import QbenchError

START_TIMEOUT_S = 180.0
SERVER = ("-m", "qbench.run.server")


class Lines:
    """JSON lines from a socket, cut as they arrive."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._rest = b""
        self.closed = False

    def read(self) -> list[dict[str, Any]]:
        """What has arrived; blocks only where nothing has."""
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in whole]


@dataclass(eq=False)
class Job:
    """One worker: what it was asked, what it said, how it ended."""

    lines: Lines
    started: float
    deadline: float
    log: Path
    pid: int | None = None
    events: deque[dict[str, Any]] = field(default_factory=deque)
    exit_code: int | None = None
    """None while it lives; negative for the signal that killed it."""
    peak_rss_bytes: int = 0
    timed_out: bool = False
    stopped: bool = False
    _left: float = math.inf
    """Seconds to the deadline while it is held."""

    def send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died; its exit is on its way
            self.lines.sock.sendall(json.dumps(message).encode() + b"\n")

    def hold(self) -> None:
        """Stops the clock of the deadline while the worker waits for its turn."""
        self._left = self.deadline - time.monotonic()
        self.deadline = math.inf

    def renew(self, seconds: float) -> None:
        """Gives a worker that is held so many seconds for its next turn, whatever the turns before took."""
        self._left = seconds

    def go_on(self) -> None:
        """Lets worker and clock go on where they stood."""
        self.deadline = time.monotonic() + self._left
        if self.stopped:
            self._signal(signal.SIGCONT)
            self.stopped = False

    def stop(self) -> None:
        """Stops all threads and children of a worker that waits, so that nothing of it computes meanwhile.

        Its deadline is not touched: `hold` has done that when it began to wait.
        """
        if not self.stopped and self.pid is not None:
            self._signal(signal.SIGSTOP)
            self.stopped = True

    def _signal(self, number: int) -> None:
        assert self.pid is not None, "a worker has a name before it is signalled"
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it died; its exit is on its way
            os.killpg(self.pid, number)

    def log_tail(self, characters: int = 4000) -> str:
        """The end of what the worker printed, without the long list of modules in a crash report."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith("Extension modules:"))[-characters:]


class Pool:
    """A warm server and its jobs; a context manager that leaves no process behind."""

    def __init__(self, python: str | None = None) -> None:
        """`python` names the interpreter of another environment, whose own qbench then does the work; nothing
        of the present folder is imported there."""
        self._folder = tempfile.TemporaryDirectory(prefix="qbench-")
        self._selector = selectors.DefaultSelector()
        self._unnamed: deque[Job] = deque()
        self.jobs: list[Job] = []
        self.ceilings: dict[tuple[str, int | None], dict[str, Any]] = {}
        """Device and threads → what was measured of it, once for all runs that share this pool."""
        self._count = 0
        ours, theirs = socket.socketpair()
        with theirs, (self._path("server")).open("wb") as log:
            self._process = subprocess.Popen(
                [*([python, "-P"] if python else [sys.executable]), *SERVER, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the parent, which then ends the server
                stdout=log,
                stderr=log,
                env=_environment(),
            )
        self._control = Lines(ours)
        self.facts = self._await_ready()
        self._selector.register(ours, selectors.EVENT_READ, self._control)

    def start(self, message: dict[str, Any], timeout_s: float) -> Job:
        """Forks a worker and hands it its message; its log is a file in the pool's folder."""
        self._count += 1
        log = self._path(f"job-{self._count}")
        ours, theirs = socket.socketpair()
        now = time.monotonic()
        job = Job(Lines(ours), now, now + timeout_s, log)
        with theirs, log.open("wb") as stream:
            socket.send_fds(self._control.sock, [b"j"], [theirs.fileno(), stream.fileno()])
        self._unnamed.append(job)
        self.jobs.append(job)
        self._selector.register(ours, selectors.EVENT_READ, job)
        job.send(message)
        return job

    def wait(self, timeout_s: float | None = None) -> list[Job]:
        """Sleeps until something happens or `timeout_s` passes; returns the jobs that have news.

        A job past its deadline is killed with its whole process group, and has news when it is dead.
        """
        limit = min((job.deadline for job in self.jobs if not job.timed_out), default=None)
        left = None if limit is None or limit == math.inf else max(0.0, limit - time.monotonic())
        wait = min((value for value in (timeout_s, left) if value is not None), default=None)
        news: list[Job] = []
        for key, _ in self._selector.select(wait):
            news += self._hear(key.data)
        now = time.monotonic()
        for job in self.jobs:
            if now >= job.deadline and not job.timed_out:
                job.timed_out = True
                self.kill(job)
        return list(dict.fromkeys(news))

    def kill(self, job: Job) -> None:
        """Ends a worker and everything that it started."""
        while job.pid is None:  # the server's answer to the fork is on its way
            self._control_news()
        if job.exit_code is None:
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(job.pid, signal.SIGKILL)

    def close(self) -> None:
        """Ends the server, which ends its workers."""
        self._control.sock.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for job in self.jobs:
            job.lines.sock.close()
        self._selector.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hear(self, source: Job | Lines) -> list[Job]:
        if isinstance(source, Lines):
            return self._control_news()
        if source.exit_code is not None:  # it died in this same round, and was read to its end
            return []
        source.events.extend(source.lines.read())
        if source.lines.closed:
            self._ignore(source)
        return [source]

    def _control_news(self) -> list[Job]:
        messages = self._control.read()
        if self._control.closed:
            raise QbenchError(f"the worker server died: {self._path('server').read_text()[-2000:]}")
        return [job for message in messages if (job := self._note(message))]

    def _note(self, message: dict[str, Any]) -> Job | None:
        if message["event"] == "forked":
            self._unnamed.popleft().pid = message["pid"]
            return None
        job = next(job for job in self.jobs if job.pid == message["pid"])
        while not job.lines.closed and self._pending(job):
            job.events.extend(job.lines.read())
        self._ignore(job)
        job.lines.sock.close()
        job.exit_code, job.peak_rss_bytes = message["code"], message["peak_rss_bytes"]
        self.jobs.remove(job)
        return job

    def _ignore(self, job: Job) -> None:
        """Stops listening to a worker that has said its last; the number of its socket will be used again."""
        if job.lines.sock.fileno() in self._selector.get_map():
            self._selector.unregister(job.lines.sock)

    def _pending(self, job: Job) -> bool:
        """Whether the socket of a dead worker still holds something, its end included."""
        with selectors.DefaultSelector() as once:
            once.register(job.lines.sock, selectors.EVENT_READ)
            return bool(once.select(0))

    def _await_ready(self) -> dict[str, Any]:
        self._control.sock.settimeout(START_TIMEOUT_S)
        try:
            messages = self._control.read()
        except TimeoutError:
            messages = []
        self._control.sock.settimeout(None)
        if not messages:
            log = self._path("server").read_text(errors="replace")[-2000:]
            self._process.kill()
            raise QbenchError(f"the worker server did not start:\n{log}")
        return messages[0]

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / f"{name}.log"


def _environment() -> dict[str, str]:
    """numpy's BLAS would start threads on import, and a process with threads must not fork."""
    return {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
    }
