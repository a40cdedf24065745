"""Atomic writes: a file is written whole or not at all.

A reader sees the old file or the new one, never a part: the text goes to a temporary file in the same
folder, is fsynced, takes the name by rename, and the folder is fsynced so that the name survives a power
cut. What a `kill -9` leaves behind ends in `.tmp` and no reader looks at it.

A symbolic link stays one: what it leads to is replaced. What is no regular file (a pipe, a device) is written
into, and so is what this process's standard output or error is: neither can be replaced by renaming.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from qbench.errors import ResultsError

LEFTOVER = ".tmp"


def make_folder(folder: Path) -> None:
    """Makes the folder and its parents where they are missing; ResultsError where the system refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(
            f"cannot make the folder {folder}: {error.strerror or error}; name another place"
        ) from error


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`; its folder must exist. Raises ResultsError where the system refuses."""
    try:
        stream = _stream(path)
        if stream is None:
            _replace(Path(os.path.realpath(path)), content)
        else:
            with os.fdopen(stream, "wb") as file:
                file.write(content)
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror or error}") from error


def write_json_atomic(path: Path, value: Any) -> None:
    """Writes `value` as UTF-8 JSON; NaN and infinity are refused, since JSON has neither."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        content = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ResultsError(f"cannot store {path.name} as JSON: {error}") from error
    write_bytes_atomic(path, content + b"\n")


def remove_leftovers(folder: Path) -> int:
    """Deletes the temporary files of dead writers, returns their number; only for the holder of the lock."""
    found = list(folder.glob(f".*{LEFTOVER}"))
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def _stream(path: Path) -> int | None:
    """A descriptor to write into; None where a file is to be replaced, or made."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    for number in (1, 2):  # opened anew, a file would be written from its start, over what was printed
        with contextlib.suppress(OSError):  # it may be closed
            if os.path.samestat(os.fstat(number), there):
                return os.dup(number)
    regular = stat.S_ISREG(there.st_mode)
    return None if regular else os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{LEFTOVER}")
    try:
        _write_through(temporary, content)
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):  # such as a folder that is none: the first error says so
            temporary.unlink(missing_ok=True)


def _write_through(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
