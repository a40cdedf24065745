"""Memory that torch's allocator hands out while something runs, above what it held when that began.

On a GPU the allocator keeps the count itself. On a CPU nothing does, and the process's resident memory is too
coarse (pages that the C library kept, counters that the kernel folds together late); but torch tells its
profiler of each allocation with its size, so that adding them up gives the peak to the byte, the same on
every run. Not seen there: what a library takes without torch, such as oneDNN's scratchpads. The profiler
slows the run: never time inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile

_EVENT = "[memory]"
"""The profiler's name for an allocation (bytes above zero) or a release (below)."""


@dataclass(frozen=True)
class Allocations:
    """Bytes above the level at the start."""

    peak: int
    kept: int
    """Still held at the end."""


def track(run: Callable[[], object], device: torch.device) -> Allocations | None:
    """Runs it and returns what torch allocated meanwhile; None where torch told of no allocation at all."""
    return _on_gpu(run, device) if device.type == "cuda" else _on_cpu(run)


def _on_cpu(run: Callable[[], object]) -> Allocations | None:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    assert recorded.profiler is not None
    assert recorded.profiler.kineto_results is not None
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == _EVENT]
    if not events:
        return None
    events.sort(key=lambda event: event.start_ns())
    levels = list(accumulate(event.nbytes() for event in events))
    return Allocations(max(0, *levels), levels[-1])


def _on_gpu(run: Callable[[], object], device: torch.device) -> Allocations:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return Allocations(
        torch.cuda.max_memory_allocated(device) - before, torch.cuda.memory_allocated(device) - before
    )
