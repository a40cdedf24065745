"""A folder of its own for what torch's inductor compiles in this process, so that every compilation is cold.

A cache that other cells have filled would make `compile_s` a matter of order. So each process gets an empty
folder under `cache_folder()/inductor` and holds a lock on it as long as it lives; the kernel releases that
lock however the process ends, and whoever comes next removes the folders that nobody holds. A killed worker
thus leaves nothing that anyone reads, and half-written libraries never meet a second process.

Compiling runs in the process itself: a pool of compilers would import torch anew in each, and would sit
beside what is timed afterwards.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import shutil
import tempfile
from pathlib import Path

from qbench.cache import cache_folder


@functools.cache
def own_folder(pid: int) -> Path:
    """Makes the folder of this process (`os.getpid()`: a fork needs another) and points inductor to it."""
    import torch._inductor.config as inductor

    root = cache_folder() / "inductor"
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as mutex:  # nobody sweeps between making and locking
        fcntl.flock(mutex, fcntl.LOCK_EX)
        sweep(root)
        folder = Path(tempfile.mkdtemp(prefix=f"{pid}-", dir=root))
        fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX)  # held until the end
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    os.environ["TRITON_CACHE_DIR"] = str(folder / "triton")
    inductor.compile_threads = 1
    atexit.register(_remove, folder, pid)
    return folder


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


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
