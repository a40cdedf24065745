"""One writer for a folder, by `filelock`.

On Linux and macOS the lock is the kernel's (`flock`) and ends with the process, however that ends; a forked
child does not carry it on. On Windows it is the kernel's as well, and on a file system without `flock` it is
a marker with its owner's pid.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from qbench.errors import ResultsError
from qbench.results.store.atomic import make_folder, remove_leftovers

LOCK_FILE = ".lock"
HOLDER_FILE = ".lock-holder"
"""Names the holder; apart from the lock, which not every system lets others read while it is held."""
TURN_FILE = ".turn"


@contextlib.contextmanager
def lock(run_folder: Path) -> Iterator[None]:
    """Holds the run's folder for this process; ResultsError names the process that already holds it.

    The holder clears the temporary files that a killed writer left.
    """
    from filelock import Timeout  # lazily: readers take no lock

    make_folder(run_folder)
    holder = run_folder / HOLDER_FILE
    try:
        held = _acquired(run_folder / LOCK_FILE, timeout=0)
    except Timeout as error:
        raise ResultsError(
            f"{run_folder} is being written by {_named(holder)}; "
            "wait for it, end it, or start a run of its own with --fresh"
        ) from error
    with held:
        holder.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        remove_leftovers(run_folder)
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)


@contextlib.contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Holds the folder for a moment, after waiting for every other process that holds it.

    The lock file is removed at the end, for the folder may be a committed one. Raises ResultsError where the
    folder cannot be made or locked.
    """
    make_folder(folder)
    with _acquired(folder / TURN_FILE, timeout=-1):
        try:
            yield
        finally:
            (folder / TURN_FILE).unlink(missing_ok=True)  # while held: never the file of another holder


def _acquired(path: Path, timeout: float) -> contextlib.AbstractContextManager[object]:
    """The lock of this file, held until the context ends; `timeout` in seconds, -1 for no end.

    Raises filelock's Timeout, or ResultsError where the system refuses.
    """
    from filelock import FileLock, Timeout

    try:
        return FileLock(path).acquire(timeout=timeout)
    except Timeout:
        raise
    except OSError as error:
        raise ResultsError(f"cannot lock {path}: {error.strerror or error}") from error


def _named(holder: Path) -> str:
    """`process 123 on host`, as the holder has written it."""
    try:
        signed = json.loads(holder.read_text())
        return f"process {signed['pid']} on {signed['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # locked and not signed yet
        return "another process"
