"""The worker: one forked process that measures one cell and says what it finds.

It leads a process group of its own (so that all of it can be killed), writes to a log of its own, and dies
with the server. Everything finished is sent at once; an exception is sent as typed data.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qbench
from qbench.cell import Cell
from qbench.measure import inductor
from qbench.run.worker.channel import Channel

PR_SET_PDEATHSIG = 1


def main(job_descriptor: int, log_descriptor: int) -> int:
    """Runs the job that the parent sends; returns the process's exit code."""
    os.setsid()
    _die_with_server()
    os.dup2(log_descriptor, 1)
    os.dup2(log_descriptor, 2)
    os.close(log_descriptor)
    faulthandler.enable(file=sys.__stderr__ or 2)
    channel = Channel(socket.socket(fileno=job_descriptor))
    channel.send("started")
    job = channel.receive()
    try:
        JOBS[job["kind"]](job, channel)
    except BaseException as error:
        channel.send("error", **describe(error))
        return 1
    finally:  # the server ends this process without Python's own exit
        inductor.remove_own(os.getpid())
    channel.send("done")
    return 0


def measure_cell(job: dict[str, Any], channel: Channel) -> None:
    """Load, quantize, probe: the walk of one cell."""
    cell = _limited(job)
    from qbench.run.worker.measurement import measure

    measure(cell, channel)


def quantize_cell(job: dict[str, Any], channel: Channel) -> None:
    """Load, quantize, save: what `qbench quantize` asks for."""
    cell = _limited(job)
    from qbench.run.worker.quantization import save

    save(cell, job["folder"], job["origin"], channel)


def keep_base_outputs(job: dict[str, Any], channel: Channel) -> None:
    """The unquantized model's outputs, that divergence is measured from."""
    from qbench.run.worker.measurement import keep_base_outputs

    keep_base_outputs(Cell.from_dict(job["cell"]), channel)


def plan_suite(job: dict[str, Any], channel: Channel) -> None:
    """The cells of a suite as this version sees them, for a parent of another one."""
    from qbench.run.worker.remote_plan import plan

    plan(job, channel)


def time_rounds(job: dict[str, Any], channel: Channel) -> None:
    """One side of a cell that is timed against another version's."""
    cell = _limited(job)
    from qbench.run.worker.rounds import rounds

    rounds(cell, channel, probes=job["probes"], turns=job["turns"])


def _limited(job: dict[str, Any]) -> Cell:
    """The job's cell, once its memory limit holds for this process."""
    cell = Cell.from_dict(job["cell"])
    if cell.memory_limit:
        resource.setrlimit(resource.RLIMIT_DATA, (cell.memory_limit, cell.memory_limit))
    return cell


def measure_ceilings(job: dict[str, Any], channel: Channel) -> None:
    """The machine's bandwidth and GEMM rates with the threads that cells have, for the manifest."""
    import torch

    from qbench.measure.peak_rates import ceilings

    torch.set_num_threads(job.get("threads") or len(os.sched_getaffinity(0)))
    with channel.phase("ceilings", timed=True):
        channel.part("ceilings", ceilings(job["device"]))


JOBS: dict[str, Callable[[dict[str, Any], Channel], None]] = {
    "cell": measure_cell,
    "ceilings": measure_ceilings,
    "base": keep_base_outputs,
    "quantize": quantize_cell,
    "plan": plan_suite,
    "rounds": time_rounds,
}


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as data: `status` failed or oom, type, message, traceback, and the peak until here."""
    return {
        "status": "oom" if is_out_of_memory(error) else "failed",
        "type": type(error).__name__,
        "message": str(error) or type(error).__name__,
        "traceback": without_places("".join(traceback.format_exception(error))),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
    }


def without_places(text: str) -> str:
    """A traceback whose files are named from the package on: where a machine keeps its packages is nobody's
    business who is shown the report."""
    known = [Path(entry) for entry in sys.path if entry] + [Path(qbench.__file__).parents[1]]
    for place in sorted({str(entry.resolve()) for entry in known}, key=len, reverse=True):
        text = text.replace(f'File "{place}/', 'File "')
    return text


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, on the CPU or a GPU, here or in the exception behind this one."""
    while error is not None:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        text = str(error)
        if "DefaultCPUAllocator" in text or "Cannot allocate memory" in text or "std::bad_alloc" in text:
            return True
        error = error.__cause__ or error.__context__
    return False


def _die_with_server() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
