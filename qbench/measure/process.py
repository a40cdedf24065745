"""Memory of this process and of the CUDA allocator: present, and at the peak of a phase.

Linux keeps the high-water mark of resident memory (VmHWM); writing 5 to /proc/self/clear_refs sets it back to
the present, so that the peaks of loading, quantizing and running are told apart. No thread samples anything.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import Any, Self

import torch

from qbench.measure.nvml_binding import bindings, uuid_of

PROC = Path("/proc/self")
NOT_ON_CPU = "the cell runs on no GPU"


def rss_bytes() -> int | None:
    """Resident memory now, after free pages went back to the system; None without /proc."""
    trim()
    return _status("VmRSS")


def peak_rss_bytes() -> int | None:
    """High-water mark of resident memory since the process started or since a `Peak` began."""
    return _status("VmHWM")


def trim() -> None:
    """Gives free heap pages back (glibc keeps them), so that no baseline or peak counts them."""
    gc.collect()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):  # glibc has it, musl has not
            libc.malloc_trim(0)


class Peak:
    """Context manager: the highest memory while inside.

    On a CPU `bytes` is the process's resident memory, on a GPU what torch's allocator had handed out;
    `process_bytes` is the process's resident memory in both. Null with `reason` where it cannot be had.
    """

    def __init__(self, device: str | torch.device) -> None:
        self._device = torch.device(device)
        self.bytes: int | None = None
        self.process_bytes: int | None = None
        self.reserved_bytes: int | None = None
        """Bytes that torch's allocator had taken from the GPU, free blocks included; None on a CPU."""
        self.reason: str | None = None

    def __enter__(self) -> Self:
        trim()
        self.reason = _reset_peak()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
        return self

    def __exit__(self, *raised: object) -> None:
        self.process_bytes = None if self.reason else peak_rss_bytes()
        self.bytes = self.process_bytes
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self._device)
            self.reserved_bytes = torch.cuda.max_memory_reserved(self._device)


def gpu_memory(device: torch.device) -> tuple[dict[str, int | None], dict[str, str]]:
    """`process_gpu_bytes` (of this process: context, libraries and all) and `device_used_bytes` (of
    everyone), now, and the reason of each null."""
    if device.type != "cuda":
        names = ("process_gpu_bytes", "device_used_bytes")
        return dict.fromkeys(names), dict.fromkeys(names, NOT_ON_CPU)
    free, total = torch.cuda.mem_get_info(device)
    used, reason = _process_gpu_bytes(uuid_of(torch.cuda.get_device_properties(device)), bindings())
    reasons = {"process_gpu_bytes": reason} if reason else {}
    return {"process_gpu_bytes": used, "device_used_bytes": total - free}, reasons


def _process_gpu_bytes(uuid: str, library: Any) -> tuple[int | None, str | None]:
    """Bytes that this process holds on a GPU by NVML, or why it does not say."""
    try:
        library.nvmlInit()
        handle = library.nvmlDeviceGetHandleByUUID(uuid)
        processes = library.nvmlDeviceGetComputeRunningProcesses(handle)
    except library.NVMLError as error:
        return None, f"NVML: {error}"
    for process in processes:
        if process.pid == os.getpid():
            used = process.usedGpuMemory
            return used, None if used is not None else "NVML does not say what a process holds here"
    return None, "NVML lists no process of this number, as in a container with numbers of its own"


class Needs:
    """The most memory that this worker has taken, over all its phases: what one like it will need.

    `note` is called before each reset of the peaks, since `Peak` sets the marks back.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._peak = 0
        self.note()

    def note(self) -> None:
        self._peak = max(self._peak, peak_rss_bytes() or 0)

    def bytes(self) -> dict[str, int | None]:
        """`host`; on a GPU also `device`, what torch holds of its memory, and `device_free`, what is left."""
        host = {"host": self._peak or None}
        if self._device.type != "cuda":
            return host
        free, _ = torch.cuda.mem_get_info(self._device)
        return {**host, "device": torch.cuda.memory_reserved(self._device), "device_free": free}


def _reset_peak() -> str | None:
    """Sets VmHWM to the present; the reason where the system does not let us."""
    if _status("VmHWM") is None:
        return f"{PROC}/status has no VmHWM on this system"
    try:
        (PROC / "clear_refs").write_text("5")
    except OSError as error:
        return f"the peak cannot be set back: {error}"
    return None


def _status(key: str) -> int | None:
    try:
        lines = (PROC / "status").read_text().splitlines()
    except OSError:  # no Linux
        return None
    for line in lines:
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None
