"""A server whose workers say what was recorded: the wire of `qbench.run.server` without torch and qbench.

Run as an interpreter: `replay_server.py -P -m qbench.run.server FD`. A worker plays the file of its cell's
label in `recorded/`: a line is an event as it was on the wire, or an instruction under the key `replay`.
After `want` it waits for the parent's word, as a real worker does.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "recorded"
READY = {
    "event": "ready", "seconds": 0.1, "threads": 1, "modules": [], "protocol": 1, "version": "0.1.0",
    "folder": "/nowhere/qbench", "strange_modules": [],
}  # fmt: skip


def serve(control: socket.socket) -> None:
    tell(control, READY)
    children: set[int] = set()
    while True:
        readable, _, _ = select.select([control], [], [], 0.01)
        if readable:
            data, descriptors, _, _ = socket.recv_fds(control, 1, 2)
            if not data:
                break
            pid = os.fork()
            if pid == 0:
                control.close()
                play(*descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            children.add(pid)
            tell(control, {"event": "forked", "pid": pid})
        for pid in list(children):
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                children.remove(pid)
                code, peak = os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
                tell(control, {"event": "exited", "pid": pid, "code": code, "peak_rss_bytes": peak})
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def play(job_descriptor: int, log_descriptor: int) -> None:
    os.setsid()
    stream = socket.socket(fileno=job_descriptor).makefile("rwb")
    job = json.loads(stream.readline())
    for line in (FOLDER / f"{job['cell']['label']}.jsonl").read_text().splitlines():
        row = json.loads(line)
        if "replay" not in row:
            say(stream, line)
            if row["event"] == "want":
                json.loads(stream.readline())
        elif row["replay"] == "raw":
            say(stream, row["text"])
        elif row["replay"] == "log":
            os.write(log_descriptor, row["text"].encode())
        elif row["replay"] == "hang":
            time.sleep(600)
        elif row["replay"] == "end":
            end(row["code"])


def say(stream: Any, line: str) -> None:
    stream.write(line.encode() + b"\n")
    stream.flush()


def end(code: int) -> None:
    if code < 0:
        os.kill(os.getpid(), -code)
        time.sleep(600)
    os._exit(code)


def tell(control: socket.socket, message: dict[str, Any]) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[-1])))
