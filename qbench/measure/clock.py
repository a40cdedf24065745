"""Clocks of a device, and a process that collects no garbage while they run."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Marks:
    """Instants on one device's clock, taken in order; `seconds()` gives the times between neighbours."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[Any] = []

    def mark(self) -> None:
        """Everything that was asked of the device before belongs before the mark."""
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def seconds(self) -> list[float]:
        pairs = zip(self._marks[:-1], self._marks[1:], strict=True)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return [before.elapsed_time(after) / 1000 for before, after in pairs]
        return [after - before for before, after in pairs]


@contextmanager
def quiet() -> Iterator[None]:
    """No garbage collection inside: a collection in the middle of a step is not the model's time."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def synchronize(device: torch.device) -> None:
    """Waits until the device has done everything that was asked of it; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
