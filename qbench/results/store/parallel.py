"""Reading many files on all cores, and making a page of them.

A record is a thousand small Python objects, so that reading ten thousand of them is work for the processor,
which one process cannot share among cores. Parts of the files are read by forked children, that send back
what was made of them. Forking is cheap and carries the function along; a child does nothing but read files,
so that it needs none of the threads that it does not have. Where there is little to read, one core, or no
fork that is safe (only Linux's is), this process reads by itself. The result is the same.

Parts of a page are made in the same way (`together`): a forked child sees all that was read before.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")

FEWEST = 1000
"""Files from which on children are worth their start."""
PART = 250
MOST = 8
"""Children."""

_work: Callable[[int], object] | None = None
"""What the children of the moment do, by place; it reaches them by the fork, and nothing of it is pickled."""


def in_parts(items: Sequence[Item], work: Callable[[Sequence[Item]], Found]) -> Iterator[Found]:
    """`work` of every part of the items, in their order; what it raises is raised here."""
    parts = [items[start : start + PART] for start in range(0, len(items), PART)]
    yield from _spread(parts, work, processes(len(items)))


def together(tasks: Sequence[Callable[[], Any]], items: int) -> list[Any]:
    """What each task returns, in their order; side by side where `items`, the things that they look at, are
    many. A task that runs long should come early."""
    return list(_spread(tasks, lambda task: task(), processes(items)))


def _spread(things: Sequence[Item], work: Callable[[Item], Found], count: int) -> Iterator[Found]:
    """`work` of each thing by so many processes, in order."""
    if count < 2:
        yield from map(work, things)
        return
    global _work
    _work = lambda place: work(things[place])  # noqa: E731
    try:
        with _children(count) as pool:
            yield from pool.map(_at, range(len(things)))  # type: ignore[misc]
    finally:
        _work = None


def processes(items: int) -> int:
    """How many processes read so many files; 1 is this one."""
    if items < FEWEST or sys.platform != "linux" or multiprocessing.current_process().daemon:
        return 1
    return min(MOST, len(os.sched_getaffinity(0)))


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection inside: JSON has no cycles, and looking for them in thousands of containers took
    three quarters of the time of parsing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _children(count: int) -> Iterator[ProcessPoolExecutor]:
    with warnings.catch_warnings():  # Python warns of a fork beside threads; see above
        warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
        pool = ProcessPoolExecutor(count, multiprocessing.get_context("fork"))
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _at(place: int) -> object:
    assert _work is not None
    return _work(place)
