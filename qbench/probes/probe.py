"""`Probe`: one quantity that is measured on a prepared model, and everything that the rest has to know of it.

A probe is a folder of `qbench/probes/`, or a package of its own under the entry point `qbench.probes`. Only
the module that `entry` names may import torch: suites, tables and pages read the rest. What it measures
stands in the record under the probe's name as raw samples; statistics are taken on reading, by its metrics.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from qbench.cell import Cell
from qbench.json_object import JsonObject
from qbench.results.columns.metric import Metric, Text
from qbench.results.columns.raw_series import RawSeries
from qbench.results.store.record import Record
from qbench.section import Section


class Measure(Protocol):
    """Takes a `qbench.measure.bench.Bench` and returns the raw samples as JSON values, or
    `{"value": None, "reason": …}` where there is nothing to measure with."""

    def __call__(self, bench: Any) -> JsonObject: ...


Clock = Literal["none", "rounds", "whole"]
"""`none`: it measures no time, and runs beside others. `rounds`: it takes the machine round by round, in
slots between those of the cells it is compared with. `whole`: it has the machine from beginning to end."""


def no_series(record: Record) -> Iterator[RawSeries]:
    """No raw samples for the table of samples."""
    return iter(())


@dataclass(frozen=True)
class Probe:
    """A probe's declaration; importing it imports no torch."""

    name: str
    """In records, phases and `qbench list probes`."""
    settings: type[Section]
    """Type of its section in a suite; the section's `key` switches the probe on."""
    unit: str
    """Unit of the raw samples: `nat`, `B`, `s`, `J`."""
    description: str
    order: int
    """Probes run from the least order to the greatest."""
    entry: str
    """`module:function` of its `Measure`, loaded in the worker."""
    metrics: tuple[Metric, ...]
    texts: tuple[Text, ...] = ()
    """Texts of a record that are columns of the frame."""
    clock: Clock = "none"
    """Claim on the machine while it measures."""
    title: str = ""
    """The section in the suite's JSON Schema; left out: `description`."""
    default: Section | None = None
    """Settings in a suite that does not name the section; None: off. Only built-in probes have one: that of a
    plugin would change the ids of all cells as soon as it is installed."""
    series: Callable[[Record], Iterator[RawSeries]] = no_series
    """The raw samples of a record for `qbench.samples`."""
    quantities: Mapping[str, str] = field(default_factory=dict)
    """Quantity of a raw series → its meaning, for docs/columns.md."""

    @property
    def section(self) -> str:
        """Key of a suite and of a cell that switches it on and holds its settings."""
        return self.settings.key

    def asked(self, cell: Cell) -> bool:
        """True where the cell's suite switches the probe on."""
        return self.section in cell.sections

    def measure(self) -> Measure:
        """The function that measures; imports torch."""
        module, _, function = self.entry.partition(":")
        found: Measure = getattr(importlib.import_module(module), function)
        return found
