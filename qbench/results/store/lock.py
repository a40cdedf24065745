"""One writer for a folder. The kernel holds the lock, so it goes with its process, however it ends.

The lock belongs to the open file: a child made by a plain `fork` would carry it on; one that execs (as
every worker of qbench does) does not, because Python opens files close-on-exec.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from qbench.errors import ResultsError
from qbench.results.store.atomic import make_folder, remove_leftovers

LOCK_FILE = ".lock"
TURN_FILE = ".turn"


@contextlib.contextmanager
def lock(run_folder: Path) -> Iterator[None]:
    """Holds the run's folder for this process; ResultsError names the process that already holds it.

    The holder clears the temporary files that a killed writer left.
    """
    make_folder(run_folder)
    with (run_folder / LOCK_FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResultsError(
                f"{run_folder} is being written by {_holder(file)}; "
                "wait for it, end it, or start a run of its own with --fresh"
            ) from error
        _sign(file)
        remove_leftovers(run_folder)
        yield


@contextlib.contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Waits until no other process has its turn in the folder, and has it; for what takes a moment.

    Its file goes when the turn is over, for the folder may be one that is committed. (The folder itself
    would do as well, but not on NFS, where only what is open for writing can be locked.) Raises ResultsError
    where the folder cannot be had, or its file system knows no locks.
    """
    make_folder(folder)
    path = folder / TURN_FILE
    try:
        descriptor = _taken(path)
    except OSError as error:
        raise ResultsError(f"cannot lock {path}: {error.strerror or error}") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held, so that nobody else's is removed
        os.close(descriptor)


def _taken(path: Path) -> int:
    """A descriptor of the file that lies there, locked; one that went while this process waited is none."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _sign(file: IO[str]) -> None:
    """Leaves pid and host for whoever is turned away."""
    file.seek(0)
    file.truncate()
    json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
    file.flush()


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        signed = json.load(file)
        return f"process {signed['pid']} on {signed['host']}"
    except (ValueError, KeyError, TypeError):  # it has the lock and has not signed yet
        return "another process"
