"""`Pool`: the parent's end of the warm server, and the worker processes that it has forked.

`Pool.wait` sleeps in one system call until a worker sends an event, dies, or a deadline passes: while a
worker measures, the parent uses no processor.
"""

from __future__ import annotations

import contextlib
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
from pathlib import Path

from qbench.errors import QbenchError
from qbench.run.executors.local.process import Lines, WorkerProcess
from qbench.run.worker.events import Exited, Forked, Malformed, Ready, ServerEvent, server_event
from qbench.run.worker.requests import Work

START_TIMEOUT_S = 180.0
SERVER = ("-m", "qbench.run.server")


class Pool:
    """A warm server and its workers; `close` leaves no process behind."""

    def __init__(self, python: str | None = None) -> None:
        """`python` names the interpreter of another environment, whose own qbench then does the work; nothing
        of the present folder is imported there."""
        self._folder = tempfile.TemporaryDirectory(prefix="qbench-")
        self._selector = selectors.DefaultSelector()
        self._unnamed: deque[WorkerProcess] = deque()
        self.processes: list[WorkerProcess] = []
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

    def start(self, work: Work, timeout_s: float) -> WorkerProcess:
        """Forks a worker and sends it its work; its log is a file in the pool's folder."""
        self._count += 1
        log = self._path(f"job-{self._count}")
        ours, theirs = socket.socketpair()
        now = time.monotonic()
        process = WorkerProcess(Lines(ours), now, now + timeout_s, log)
        with theirs, log.open("wb") as stream:
            socket.send_fds(self._control.sock, [b"j"], [theirs.fileno(), stream.fileno()])
        self._unnamed.append(process)
        self.processes.append(process)
        self._selector.register(ours, selectors.EVENT_READ, process)
        process.send(work)
        return process

    def wait(self, timeout_s: float | None = None) -> list[WorkerProcess]:
        """Sleeps until something happens or `timeout_s` passes; returns the processes that have news.

        One past its deadline is killed with its whole process group, and has news when it is dead.
        """
        limit = min((process.deadline for process in self.processes if not process.timed_out), default=None)
        left = None if limit is None or limit == math.inf else max(0.0, limit - time.monotonic())
        wait = min((value for value in (timeout_s, left) if value is not None), default=None)
        news: list[WorkerProcess] = []
        for key, _ in self._selector.select(wait):
            news += self._hear(key.data)
        now = time.monotonic()
        for process in self.processes:
            if now >= process.deadline and not process.timed_out:
                process.timed_out = True
                self.kill(process)
        return list(dict.fromkeys(news))

    def kill(self, process: WorkerProcess) -> None:
        """Ends a worker and everything that it started."""
        while process.pid is None:  # the server's answer to the fork is on its way
            self._control_news()
        if process.exit_code is None:
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Ends the server, which ends its workers."""
        self._control.sock.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in self.processes:
            process.lines.sock.close()
        self._selector.close()
        self._folder.cleanup()

    def _hear(self, source: WorkerProcess | Lines) -> list[WorkerProcess]:
        if isinstance(source, Lines):
            return self._control_news()
        if source.exit_code is not None:  # it died in this same round, and was read to its end
            return []
        source.hear()
        if source.lines.closed:
            self._ignore(source)
        return [source]

    def _control_news(self) -> list[WorkerProcess]:
        lines = self._control.read()
        if self._control.closed:
            raise QbenchError(f"the worker server died: {self._path('server').read_text()[-2000:]}")
        return [process for line in lines if (process := self._note(server_event(line)))]

    def _note(self, event: ServerEvent) -> WorkerProcess | None:
        match event:
            case Forked():
                self._unnamed.popleft().pid = event.pid
            case Exited():
                return self._buried(event)
            case Malformed():
                raise QbenchError(f"the worker server's message is malformed: {event.why}")
        return None

    def _buried(self, event: Exited) -> WorkerProcess:
        """The process that has ended, with all that it had said."""
        process = next(one for one in self.processes if one.pid == event.pid)
        while not process.lines.closed and self._pending(process):
            process.hear()
        self._ignore(process)
        process.lines.sock.close()
        process.exit_code, process.peak_rss_bytes = event.code, event.peak_rss_bytes
        self.processes.remove(process)
        return process

    def _ignore(self, process: WorkerProcess) -> None:
        """Stops listening to a worker that has ended; the number of its socket will be used again."""
        if process.lines.sock.fileno() in self._selector.get_map():
            self._selector.unregister(process.lines.sock)

    def _pending(self, process: WorkerProcess) -> bool:
        """True while the socket of a dead worker holds something, its end included."""
        with selectors.DefaultSelector() as once:
            once.register(process.lines.sock, selectors.EVENT_READ)
            return bool(once.select(0))

    def _await_ready(self) -> Ready:
        self._control.sock.settimeout(START_TIMEOUT_S)
        try:
            lines = self._control.read()
        except TimeoutError:
            lines = []
        self._control.sock.settimeout(None)
        ready = server_event(lines[0]) if lines else None
        if isinstance(ready, Ready):
            return ready
        log = ready.why if isinstance(ready, Malformed) else self._path("server").read_text(errors="replace")
        self._process.kill()
        raise QbenchError(f"the worker server did not start:\n{log[-2000:]}")

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
