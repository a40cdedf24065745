"""The warm server: a process that has imported torch and transformers once and forks a worker for each cell.

A fresh interpreter pays seconds for those imports; a fork of this one pays milliseconds. To stay forkable
the server starts no thread and touches no device: it only imports, waits and forks.

Run as `python -m qbench.run.server FD`, with FD one end of a socket pair. For each job the parent sends one
byte with two descriptors: the job's own socket and its log file. The worker speaks on that socket; the server
answers on FD with one JSON line for each fork and one for each death. When FD closes, however the parent
died, every worker's process group is killed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PRELOAD = (
    "torch",
    "numpy",
    "transformers",
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.models.gpt2.modeling_gpt2",
    "qbench.run.worker.worker",
    "qbench.run.worker.measurement",
    "qbench.run.worker.quantization",
    "qbench.run.worker.rounds",
    "qbench.run.worker.remote_plan",
)
OWN = ("qbench.methods", "qbench.quant", "qbench.measure", "qbench.models", "qbench.probes")
"""Packages that are imported whole, but for what needs Triton: a worker that came upon a module later would
read the file as it is then, and a source edited during a run would be mixed with what was there before."""


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    started = time.perf_counter()
    for name in (*PRELOAD, *_own_modules()):
        importlib.import_module(name)
    from qbench.quant.kernels import built_in
    from qbench.quant.kernels.base import native

    built_in()  # the kernels' modules: the worker adds plugins
    native.why_not()  # compiles and loads the kernels in C once, for every worker
    gc.collect()
    gc.freeze()  # what is shared now stays shared: no collection touches these pages after a fork
    seconds = time.perf_counter() - started
    modules = sorted(name for name in sys.modules if name.startswith("qbench."))
    ready = {"event": "ready", "seconds": seconds, "threads": _threads(), "modules": modules}
    _tell(control, {**ready, **_own_version()})
    children: set[int] = set()
    try:
        _serve(control, wake_read, children)
    finally:
        for pid in children:
            _kill_group(pid)


def _own_version() -> dict[str, object]:
    """Facts of this version for a parent of another one."""
    import qbench
    from qbench.run.worker.messages import PROTOCOL

    folder = Path(qbench.__file__).resolve().parent
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    strange = sorted(
        name
        for name, file in files.items()
        if file and name.startswith("qbench.") and not Path(file).resolve().is_relative_to(folder.parent)
    )
    return {
        "protocol": PROTOCOL,
        "version": qbench.__version__,
        "folder": str(folder),
        "strange_modules": strange,
    }


def _own_modules() -> Iterator[str]:
    for package in map(importlib.import_module, OWN):
        found = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
        yield from (module.name for module in found if "triton" not in module.name)


def _serve(control: socket.socket, wake: int, children: set[int]) -> None:
    ears: list[socket.socket | int] = [control, wake]
    while True:
        readable, _, _ = select.select(ears, [], [])
        if wake in readable:
            os.read(wake, 4096)
            _reap(control, children)
        if control in readable:
            data, descriptors, _, _ = socket.recv_fds(control, 1, 2)
            if not data:
                return
            pid = _fork(control, wake, descriptors)
            children.add(pid)
            _tell(control, {"event": "forked", "pid": pid})


def _fork(control: socket.socket, wake: int, descriptors: list[int]) -> int:
    pid = os.fork()
    if pid:
        for descriptor in descriptors:
            os.close(descriptor)
        return pid
    code = 1
    try:
        from qbench.run.worker import worker

        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        control.close()
        os.close(wake)
        code = worker.main(*descriptors)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _reap(control: socket.socket, children: set[int]) -> None:
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        children.discard(pid)
        _kill_group(pid)  # whatever the worker left running
        _tell(
            control,
            {
                "event": "exited",
                "pid": pid,
                "code": os.waitstatus_to_exitcode(status),
                "peak_rss_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            },
        )


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _tell(control: socket.socket, message: dict[str, object]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the parent is gone; the next read says so
        control.sendall(json.dumps(message).encode() + b"\n")


def _threads() -> int:
    """Threads of this process as the kernel counts them: a fork is safe with one."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()


if __name__ == "__main__":
    main()
