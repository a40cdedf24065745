"""Admission of one more worker beside those in memory: what it may take, against what is free.

Only for executors whose workers run on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

MARGIN = 0.25
"""Share of the largest worker so far: the next method may need more than those before it."""
HOST_SPARE = 256 << 20
DEVICE_SPARE = 1 << 30
"""GPU memory that torch does not count: a CUDA context, its kernels, a library's workspace."""

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def lacking(needs: Sequence[dict[str, int | None]]) -> str | None:
    """Reason that one more worker like these does not fit, or None; `needs` holds the bytes of each worker.

    Needs that no worker has sent, and memory that the system does not tell, count as free. A GPU's free
    memory is told by the workers, so that the parent touches no device.
    """
    host = _most(needs, "host")
    if host is not None:
        wanted, free = int(host * (1 + MARGIN)) + HOST_SPARE, available_bytes()
        if free is not None and free < wanted:
            return f"it may take {mib(wanted)}, and {mib(free)} are free"
    device = _most(needs, "device")
    if device is not None:
        wanted = int(device * (1 + MARGIN)) + DEVICE_SPARE
        free = min(value for need in needs if (value := need.get("device_free")) is not None)
        if free < wanted:
            return f"it may take {mib(wanted)} of the GPU, and {mib(free)} are free"
    return None


def available_bytes() -> int | None:
    """Memory that can be taken without swapping: of the machine, and of the cgroups around this process.

    None where the system tells neither (no Linux).
    """
    found = [*_machine(), *_cgroups()]
    return min(found) if found else None


def _machine() -> Iterator[int]:
    for line in _lines(MEMINFO):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _cgroups() -> Iterator[int]:
    """Free bytes of each cgroup around this process; page cache that can be dropped counts as free."""
    for folder, limit, used in _memory_folders():
        values = [next(iter(_lines(folder / name)), "") for name in (limit, used)]
        if all(value.isdigit() for value in values):
            cache = [
                line.split()[1]
                for line in _lines(folder / "memory.stat")
                if line.startswith("inactive_file ")
            ]
            yield int(values[0]) - int(values[1]) + int(cache[0] if cache else 0)


def _memory_folders() -> Iterator[tuple[Path, str, str]]:
    """This process's cgroup and those above it, of either version, with the names of limit and use."""
    for line in _lines(OWN_CGROUP):
        _, controllers, own = line.split(":", 2)
        if controllers == "":
            root, names = CGROUP, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            root, names = CGROUP / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        folder = root / own.lstrip("/")
        for each in (folder, *folder.parents):
            if each.is_relative_to(root):
                yield each, *names


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _most(needs: Sequence[dict[str, int | None]], name: str) -> int | None:
    return max((value for need in needs if (value := need.get(name)) is not None), default=None)


def mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
