"""`Probe`: one quantity that is measured on a prepared model, and everything that the rest has to know of it.

A probe is a folder of `qbench/probes/`, or a package of its own under the entry point `qbench.probes`. Only
what `entry` names may import torch: suites, tables and pages read the rest. What it measures stands in the
record under the probe's name as raw samples; statistics are taken on reading, by its metrics.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from qbench.results.columns.metric import Metric, Text


class Measure(Protocol):
    """Takes a `qbench.measure.bench.Bench` and returns the raw samples as JSON values, or
    `{"value": None, "reason": …}` where there is nothing to measure with."""

    def __call__(self, bench: Any) -> dict[str, Any]: ...


Clock = Literal["none", "rounds", "whole"]
"""`none`: it measures no time, and runs beside others. `rounds`: it takes the machine round by round, in
slots between those of the cells it is compared with. `whole`: it has the machine from beginning to end."""


@dataclass(frozen=True)
class Probe:
    """A probe's declaration; importing it imports no torch."""

    name: str
    """In records, phases and `qbench list probes`."""
    section: str
    """Key of a suite and of a cell that switches it on and holds its settings."""
    unit: str
    """Of its raw samples: `nat`, `B`, `s`, `J`."""
    description: str
    order: int
    """Probes run from the least order to the greatest."""
    entry: str
    """`module:function` of its `Measure`, loaded in the worker."""
    metrics: tuple[Metric, ...]
    texts: tuple[Text, ...] = ()
    """Texts of a record that are columns of the frame."""
    clock: Clock = "none"
    """What it needs of the machine while it measures."""

    def measure(self) -> Measure:
        """The function that measures; imports torch."""
        module, _, function = self.entry.partition(":")
        found: Measure = getattr(importlib.import_module(module), function)
        return found
