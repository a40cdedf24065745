"""A folder of its own for what torch's inductor compiles in this process, so that every compilation is cold.

A cache that other cells or another prompt length have filled would make `compile_s` a matter of order. So
each process gets a folder under `cache_folder()/inductor`, and in it an empty one for each generation that it
compiles; what inductor keeps in memory is forgotten in between. What a process pays once (modules that
compiling imports, the probe of the processor's vector units) still falls on the first.

A worker removes its folder at its end. It holds a lock on it as long as it lives; the kernel releases that
lock however the process ends, and whoever comes next removes the folders that nobody holds. A killed worker
thus leaves nothing that anyone reads, and half-written libraries never meet a second process.

Compiling runs in the process itself: a pool of compilers would import torch anew in each, and would sit
beside what is timed afterwards.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from qbench.cache import cache_folder

_own: dict[int, Path] = {}
"""This process's folder by its id: a fork needs another."""


def own_folder(pid: int) -> Path:
    """The folder of this process (`os.getpid()`), made and locked at the first call."""
    if pid not in _own:
        root = cache_folder() / "inductor"
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".lock").open("w") as mutex:  # nobody sweeps between making and locking
            fcntl.flock(mutex, fcntl.LOCK_EX)
            sweep(root)
            folder = Path(tempfile.mkdtemp(prefix=f"{pid}-", dir=root))
            fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX)  # held until the end
        _own[pid] = folder
    return _own[pid]


def empty_caches(pid: int) -> Path:
    """Points inductor to an empty folder in this process's own, and lets it forget what it has compiled."""
    import torch._inductor.config as inductor
    from torch._inductor.utils import clear_caches

    folder = Path(tempfile.mkdtemp(dir=own_folder(pid)))
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    os.environ["TRITON_CACHE_DIR"] = str(folder / "triton")
    inductor.compile_threads = 1
    clear_caches()
    return folder


def remove_own(pid: int) -> None:
    """Removes the folder of this process, if it has one; for the end of a worker."""
    if folder := _own.pop(pid, None):
        shutil.rmtree(folder, ignore_errors=True)


def sweep(root: Path) -> int:
    """Removes the folders whose process is gone, and says how many; for the holder of the root's lock."""
    return sum(_swept(folder) for folder in root.iterdir() if folder.is_dir())


def _swept(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(descriptor)
