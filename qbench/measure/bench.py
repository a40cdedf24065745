"""`Bench`: everything that a probe may look at, and the slots in which it has the machine alone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from qbench.cell import Cell
from qbench.fields import Corpus


@dataclass(frozen=True)
class Slot:
    """One round's place among those of the cells that it is compared with."""

    block: int
    """Number of the block: in a block each cell has one round, and its rounds are neighbours in time."""
    place: int
    """Place within the block, from 0."""
    since_s: float
    """`perf_counter` when the first block began, the same for all cells of the group."""
    since_utc: str
    """The same instant as UTC, ISO 8601."""


def free_slots() -> Callable[[int], AbstractContextManager[Slot]]:
    """Slots of a model that is measured by itself: each is granted at once."""
    blocks, since_s = itertools.count(), time.perf_counter()

    @contextmanager
    def slot(stage: int) -> Iterator[Slot]:
        yield Slot(next(blocks), 0, since_s, "")

    return slot


@dataclass
class Bench:
    """Everything that a probe may look at, prepared by the worker: a loaded, quantized model in eval mode."""

    model: nn.Module
    tokenizer: Any
    cell: Cell
    device: torch.device
    documents: Callable[[Corpus], list[str]]
    """Reads a corpus."""
    baseline: dict[str, int | None] = field(default_factory=dict)
    """Filled before the probes run: `disk_bytes` (size of the weights on disk), `rss_bytes` (the worker's RSS
    before the model was loaded), `quantize_peak_bytes` (`Peak.bytes` around quantizing, from which the memory
    probe takes that RSS off)."""
    base_weights: str = ""
    """Weights that the model was made from; see `ModelRef.weights`."""
    slot: Callable[[int], AbstractContextManager[Slot]] = field(default_factory=free_slots)
    """Around each round that is timed: has the machine for itself. Takes the stage, which never falls:
    others that are compared with this cell and are at a lower one have their rounds first."""
    siblings: Callable[[], Sequence[int]] = tuple
    """Process ids of qbench's other workers on this device: stopped, and still with a CUDA context there."""
