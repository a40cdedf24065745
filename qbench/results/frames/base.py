"""`Related`: what relating a cell to others needs; and the base of a cell, the unquantized one."""

from __future__ import annotations

import functools
import math
from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from qbench.results.columns.metric import ByWindow, VersusBase
from qbench.results.columns.paired_blocks import Blocks
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS

Key = tuple[str, str, str, str, str, str]
Same = TypeVar("Same", bound=Hashable)
Packed = bytes
"""Numbers by window as float64; arrays take ten times as long to send from one process to another."""

BY_WINDOW = {name: one.by_window for name, one in METRICS.items() if one.by_window and one.by_window.interval}
"""Metrics whose intervals the frame holds."""
PAIRED = tuple(metric for metric in METRICS.values() if metric.paired_by_window)
"""Metrics that are related to those of the base window by window."""
QUOTIENTS = {name: one.versus for name, one in METRICS.items() if one.versus and not one.paired_by_window}
"""Metrics that are related to those of the base by their two numbers, or block by block."""
_BLOCKS = {name: one.blocks for name, one in QUOTIENTS.items() if one.blocks}


@dataclass(frozen=True)
class Windows:
    """A metric's sums by window."""

    sums: Packed
    """Empty where the metric has no value."""
    tokens: Packed
    """Scored tokens by window."""
    scored_on: tuple[Hashable, ...]

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.tokens) // 8

    def above(self, base: Windows) -> NDArray[np.float64] | None:
        """Sums by window beyond the base's; None where the two were not scored on the same windows."""
        return unpacked([self.sums]) - unpacked([base.sums]) if self.like(base) else None

    def like(self, base: Windows) -> bool:
        """True where both have sums of the same windows."""
        alike = self.tokens == base.tokens and self.scored_on == base.scored_on
        return bool(self.sums and base.sums) and alike

    @property
    def weights(self) -> NDArray[np.float64]:
        """Scored tokens by window."""
        return unpacked([self.tokens])


@dataclass(frozen=True)
class Related:
    """Data of a cell that relate it to others, so that its record need not be kept."""

    cell_id: str
    key: Key
    """Suite, run, unquantized weights, dtype, device and runtime: equal for a cell and its base."""
    is_base: bool
    repetition: int
    measured: Mapping[str, float | None]
    """Values of the metrics in `QUOTIENTS`."""
    windows: Mapping[str, Windows]
    """Sums by window of the metrics in `BY_WINDOW`."""
    blocks: Mapping[str, Blocks]
    """Rounds of the metrics whose speedups are paired by block."""

    def paired_with(self, base: Related) -> bool:
        """True where every metric that is paired by window was scored on the same windows."""
        return all(self.windows[one.name].like(base.windows[one.name]) for one in PAIRED)


def unpacked(packed: Iterable[Packed]) -> NDArray[np.float64]:
    """The numbers of all of them, one after the other."""
    return np.frombuffer(b"".join(packed))


def _packed(values: Sequence[float]) -> Packed:
    return array("d", values).tobytes()


@functools.lru_cache(maxsize=1024)
def _interned(same: Same) -> Same:
    """Interns equal values, so that pickling sends each once."""
    return same


def windows_of(record: Record, declared: ByWindow) -> Windows:
    """ValueError where sums and tokens are of different numbers of windows."""
    sums, tokens = declared.sums(record) or (), declared.tokens(record)
    if sums and len(sums) != len(tokens):
        raise ValueError("sums and scored tokens are not of the same windows")
    return Windows(_packed(sums), _interned(_packed(tokens)), _interned(declared.scored_on(record)))


def related_of(record: Record, cell_id: str, measured: Mapping[str, float | None]) -> Related:
    """`measured` holds at least the metrics in `QUOTIENTS`."""
    cell = record.cell
    return Related(
        cell_id=cell_id,
        key=_interned(
            (record.suite, record.run, weights_behind(record), cell.dtype, cell.device, cell.runtime)
        ),
        is_base=cell.method == "none" and record.status == "ok",
        repetition=cell.repetition,
        measured={name: measured[name] for name in QUOTIENTS},
        windows={name: windows_of(record, declared) for name, declared in BY_WINDOW.items()},
        blocks={name: blocks(record) for name, blocks in _BLOCKS.items()},
    )


def measured_of(record: Record) -> dict[str, float | None]:
    """The metrics in `QUOTIENTS`, of a record that has no row yet."""
    return {name: METRICS[name].value(record) for name in QUOTIENTS}


def quotient(versus: VersusBase, own: float | None, other: float | None) -> float | None:
    """A cell's number over its base's, as `versus` says; None where one is missing, or the divisor zero."""
    if own is None or other is None:
        return None
    if versus.by == "difference":
        return own - other
    above, below = (other, own) if versus.by == "speedup" else (own, other)
    return above / below if below else None


def relations_of(cell: Related, base: Related) -> dict[str, float]:
    """The columns that relate the cell to its base by their numbers alone; null ones are left out."""
    found: dict[str, float | None] = {
        METRICS[name].relation: quotient(versus, cell.measured[name], base.measured[name])
        for name, versus in QUOTIENTS.items()
        if versus.blocks is None
    }
    for metric in PAIRED:
        above = cell.windows[metric.name].above(base.windows[metric.name])
        if above is not None:
            mean = float(above.sum()) / math.fsum(cell.windows[metric.name].weights)
            found[metric.relation] = math.exp(mean) if BY_WINDOW[metric.name].exponential else mean
    return {name: value for name, value in found.items() if value is not None}


def weights_behind(record: Record) -> str:
    """The cell's weights; of a checkpoint that was quantized before the run, those that it was made from."""
    origin = record.model.get("origin")
    made_from = origin.get("weights") if isinstance(origin, dict) else None
    return made_from if isinstance(made_from, str) else record.cell.model.weights


def find_bases(cells: Iterable[Related]) -> dict[Key, list[Related]]:
    """The bases by key; several where the suite repeats or varies them."""
    found: dict[Key, list[Related]] = {}
    for cell in cells:
        if cell.is_base:
            found.setdefault(cell.key, []).append(cell)
    return found


def base_of(cell: Related, bases: Mapping[Key, list[Related]]) -> Related | None:
    """The cell's base, preferring the same windows, then the same repetition; a base is its own."""
    candidates = bases.get(cell.key, [])
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    return min(
        candidates,
        key=lambda base: (
            base.cell_id != cell.cell_id,
            not cell.paired_with(base),
            base.repetition != cell.repetition,
        ),
    )
