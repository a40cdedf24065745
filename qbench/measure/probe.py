"""`Probe`: measures one thing about a prepared model and returns raw samples with a unit.

A probe gets a `Bench` and gives a dict of JSON values that stands in the record under its name. Statistics
are never taken here. Where there is nothing to measure with, the answer is null with a reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from qbench.suite.cell import Cell

Corpus = str | dict[str, Any]


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
    """Which weights the model was made from; see `ModelRef.weights`."""


@dataclass(frozen=True)
class Probe:
    name: str
    unit: str
    description: str
    measure: Callable[[Bench], dict[str, Any]]
