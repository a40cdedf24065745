"""The process of one job: it measures a cell, or does other work on a model, and sends typed events.

It leads a process group of its own (so that all of it can be killed), writes to a log of its own, and dies
with the process that started it. Everything finished is sent at once; an exception is sent as typed data.
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
from pathlib import Path

import qbench
from qbench.cell import Cell
from qbench.json_object import JsonObject
from qbench.measure import inductor
from qbench.run.worker.channel import Channel
from qbench.run.worker.events import Done, Failure, Started
from qbench.run.worker.requests import (
    KeepBaseOutputs,
    MeasureCell,
    MeasurePeakRates,
    PlanSuite,
    SaveQuantized,
    TimeRounds,
    Work,
)

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
    channel.send(Started())
    try:
        carry_out(channel.work(), channel)
    except BaseException as error:
        channel.send(describe(error))
        return 1
    finally:  # the server ends this process without Python's own exit
        inductor.remove_own(os.getpid())
    channel.send(Done())
    return 0


def carry_out(work: Work, channel: Channel) -> None:
    """Does the job; each kind imports what it needs."""
    match work:
        case MeasureCell():
            cell = _limited(work.cell)
            from qbench.run.worker.measurement import measure

            measure(cell, channel)
        case KeepBaseOutputs():
            from qbench.run.worker.measurement import keep_base_outputs

            keep_base_outputs(Cell.from_dict(work.cell), channel)
        case MeasurePeakRates():
            _measure_peak_rates(work, channel)
        case SaveQuantized():
            cell = _limited(work.cell)
            from qbench.run.worker.quantization import save

            save(cell, work.folder, work.origin, channel)
        case PlanSuite():
            from qbench.run.worker.remote_plan import plan

            plan(work, channel)
        case TimeRounds():
            cell = _limited(work.cell)
            from qbench.run.worker.rounds import rounds

            rounds(cell, channel, probes=work.probes, requests=work.turns)
        case _:
            raise TypeError(f"a worker has no job {type(work).__name__}")


def _limited(values: JsonObject) -> Cell:
    """The job's cell, once its memory limit holds for this process."""
    cell = Cell.from_dict(values)
    if cell.memory_limit:
        resource.setrlimit(resource.RLIMIT_DATA, (cell.memory_limit, cell.memory_limit))
    return cell


def _measure_peak_rates(work: MeasurePeakRates, channel: Channel) -> None:
    """The machine's bandwidth and GEMM rates with the threads that cells have, for the manifest."""
    import torch

    from qbench.measure.peak_rates import peak_rates

    torch.set_num_threads(work.threads or len(os.sched_getaffinity(0)))
    with channel.phase("ceilings", timed=True):
        channel.part("ceilings", peak_rates(work.device).to_dict())


def describe(error: BaseException) -> Failure:
    """The exception as an event, with the peak of memory until here."""
    return Failure(
        status="oom" if is_out_of_memory(error) else "failed",
        type=type(error).__name__,
        message=str(error) or type(error).__name__,
        traceback=without_places("".join(traceback.format_exception(error))),
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
    )


def without_places(text: str) -> str:
    """The traceback with files named from the package on: a report shows no folders of the machine."""
    known = [Path(entry) for entry in sys.path if entry] + [Path(qbench.__file__).parents[1]]
    for place in sorted({str(entry.resolve()) for entry in known}, key=len, reverse=True):
        text = text.replace(f'File "{place}/', 'File "')
    return text


def is_out_of_memory(error: BaseException | None) -> bool:
    """True where memory ran out, on the CPU or a GPU, in this exception or one behind it."""
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
