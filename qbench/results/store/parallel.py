"""Parallel reading of many files, and parallel building of a page.

Parsing records is bound by the processor: a record is a thousand small Python objects. Batches of files are
read by forked children, which return the results. A fork is cheap and needs no pickled function; the child
only reads files and uses no thread of its parent. With few files, one core, or no safe fork (only Linux has
one) this process reads by itself. The result is the same.

Parts of a page are built the same way (`together`): a forked child sees all that was read before.
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
"""Number of files from which children are worth their start."""
PART = 250
"""Files in a batch."""
MOST = 8
"""Most children."""

_work: Callable[[int], object] | None = None
"""The work of the present children, by place; the fork carries it over, nothing is pickled."""


def in_parts(items: Sequence[Item], work: Callable[[Sequence[Item]], Found]) -> Iterator[Found]:
    """Results of `work` for every batch of the items, in their order; its errors are raised here."""
    parts = [items[start : start + PART] for start in range(0, len(items), PART)]
    yield from _spread(parts, work, processes(len(items)))


def together(tasks: Sequence[Callable[[], Any]], items: int) -> list[Any]:
    """Results of the tasks, in their order; computed in parallel where `items`, the number of things they
    look at, is large. A task that runs long should come early."""
    return list(_spread(tasks, lambda task: task(), processes(items)))


def _spread(things: Sequence[Item], work: Callable[[Item], Found], count: int) -> Iterator[Found]:
    """Results of `work` for each thing by `count` processes, in order."""
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
    """Number of processes that read so many files; 1 is this process alone."""
    if items < FEWEST or sys.platform != "linux" or multiprocessing.current_process().daemon:
        return 1
    return min(MOST, len(os.sched_getaffinity(0)))


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Garbage collection off inside: JSON has no cycles, and searching thousands of containers for them took
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
