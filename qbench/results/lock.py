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
from qbench.results.atomic import make_folder, remove_leftovers

LOCK_FILE = ".lock"


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

    The lock is the folder's own: nothing is left in a folder that is committed. Raises ResultsError where
    the folder cannot be had or its file system knows no locks.
    """
    make_folder(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ResultsError(f"cannot open the folder {folder}: {error.strerror or error}") from error
    try:
        _wait_for(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise ResultsError(f"cannot lock the folder {folder}: {error.strerror or error}") from error


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
