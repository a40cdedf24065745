"""A second executor in one file, as a third party would write it: one process a job, no server, no turns.

It cannot stop a job, and its jobs take no turns: it grants the machine by itself.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field

from qbench.run.executors.executor import Capability, Ended, Event, Executor, Grants, Job
from qbench.run.worker.events import Release, Want, worker_event
from qbench.run.worker.messages import encode

WORKER = "import sys; from qbench.run.worker.worker import main; sys.exit(main(*map(int, sys.argv[1:])))"


@dataclass
class Running:
    """A job's process and socket."""

    process: subprocess.Popen[bytes]
    sock: socket.socket
    grants: Grants = field(default_factory=Grants)
    rest: bytes = b""


class Plain(Executor):
    """Starts a Python process for each job."""

    name = "plain"
    capabilities = frozenset({Capability.SAME_MACHINE, Capability.SHARED_CACHE})

    def __init__(self) -> None:
        self.running: dict[Job, Running] = {}
        self.most = 0
        self._selector = selectors.DefaultSelector()

    def start(self, job: Job) -> None:
        ours, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as log:
            passed = (theirs.fileno(), log.fileno())
            process = subprocess.Popen([sys.executable, "-c", WORKER, *map(str, passed)], pass_fds=passed)
        ours.sendall(encode(job.work))
        self.running[job] = Running(process, ours)
        self.most = max(self.most, len(self.running))
        self._selector.register(ours, selectors.EVENT_READ, job)

    def wait(self, timeout_s: float | None = None) -> Sequence[tuple[Job, Event]]:
        ready = [key.data for key, _ in self._selector.select(timeout_s)]
        return [(job, event) for job in ready for event in self._heard(job)]

    def close(self) -> None:
        for one in self.running.values():
            one.process.kill()
            one.process.wait()
            one.sock.close()
        self._selector.close()

    def _heard(self, job: Job) -> list[Event]:
        one = self.running[job]
        data = one.sock.recv(1 << 16)
        if not data:
            return [self._ended(job)]
        *lines, one.rest = (one.rest + data).split(b"\n")
        events = [worker_event(line) for line in lines]
        for event in events:
            if isinstance(event, Want):
                one.sock.sendall(encode(one.grants.answer(event)))
        return [event for event in events if not isinstance(event, Want | Release)]

    def _ended(self, job: Job) -> Ended:
        one = self.running.pop(job)
        self._selector.unregister(one.sock)
        one.sock.close()
        _, status, usage = os.wait4(one.process.pid, 0)
        one.process.returncode = os.waitstatus_to_exitcode(status)
        return Ended(one.process.returncode, peak_rss_bytes=usage.ru_maxrss * 1024, pid=one.process.pid)
