"""Timing several functions side by side, so that a slow moment hits all alike.

Each turn takes one sample of every runner, in an order drawn anew from a seed: who ran just before alone
moved a time by a third. A runner is told the number of its turn and can take another copy of its weight each
time; with enough copies none lies in the cache when its turn comes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from qbench.measure.clock import Marks, synchronize

Runner = Callable[[int], object]
"""Turn → one call; what is prepared stands before."""
MOST_COPIES = 256
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_USUAL_CACHE_BYTES = 64 << 20


def samples(
    runners: Mapping[str, Runner], turns: int, seed: int, device: torch.device, warm: int = 2
) -> dict[str, list[float]]:
    """Seconds of each turn of each runner, after `warm` calls that do not count."""
    for runner in runners.values():
        for turn in range(warm):
            runner(turn)
    times: dict[str, list[float]] = {name: [] for name in runners}
    order = random.Random(seed)
    names = sorted(runners)
    for turn in range(turns):
        for name in order.sample(names, len(names)):
            synchronize(device)
            marks = Marks(device)
            marks.mark()
            runners[name](turn)
            marks.mark()
            times[name] += marks.seconds()
    return times


def copies_for(weight_bytes: float, device: torch.device) -> int:
    """Copies of a weight that fill the last cache twice: at least two, at most `MOST_COPIES`."""
    wanted = 2 * last_cache_bytes(device) / max(1.0, weight_bytes)
    return min(MOST_COPIES, max(2, int(wanted) + 1))


def last_cache_bytes(device: torch.device) -> int:
    """Size of the largest cache as the system tells it; 64 MiB where a CPU's is not told."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size)
    try:
        sizes = [_bytes(path.read_text().strip()) for path in _CACHES.glob("index*/size")]
    except (OSError, ValueError):
        sizes = []
    return max(sizes, default=_USUAL_CACHE_BYTES)


def _bytes(text: str) -> int:
    """`32768K` as bytes."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)
