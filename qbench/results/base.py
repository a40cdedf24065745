"""The base of a cell: the unquantized one that its ratios relate to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.results.quality import divergence, windows
from qbench.results.record import Record
from qbench.results.samples import probe
from qbench.results.speedups import Rounds, rounds

Key = tuple[str, str, str, str, str, str]


@dataclass(frozen=True)
class Scored:
    """What relating a cell to others needs, so that its record need not be kept."""

    cell_id: str
    key: Key
    """Suite, run, unquantized weights, dtype, device and runtime: equal for a cell and its base."""
    is_base: bool
    repetition: int
    nll: NDArray[np.float64] | None
    """Nat by window; None where quality was not measured."""
    scored_on: tuple[Any, ...]
    """Protocol, corpus hash, window length, stride, tokens by window: cells are paired where it is equal."""
    measured: dict[str, float | None]
    """Of the columns that ratios are made of."""
    scored: tuple[int, ...]
    """Tokens by window that divergence was measured on; empty where it was not."""
    apart: Mapping[str, NDArray[Any]]
    """Of the record's divergence by window: `kl`, `agree`; empty where it has none."""
    rounds: Rounds
    """Its timed rounds by lap."""

    def nll_above(self, base: Scored | None) -> NDArray[np.float64] | None:
        """Nat by window beyond the base's; None where the two were not scored on the same windows."""
        if base is None or self.nll is None or base.nll is None or self.scored_on != base.scored_on:
            return None
        return self.nll - base.nll

    @property
    def tokens(self) -> tuple[float, ...]:
        """Scored tokens by window."""
        return tuple(self.scored_on[-1])


def scored(record: Record, cell_id: str, measured: dict[str, float | None]) -> Scored:
    cell = record.cell
    found = probe(record, "perplexity")
    finite, apart = windows(record), divergence(record)
    corpus = (found.get("corpus") or {}).get("sha256")
    return Scored(
        cell_id=cell_id,
        key=(record.suite, record.run, weights_behind(record), cell.dtype, cell.device, cell.runtime),
        is_base=cell.method == "none" and record.status == "ok",
        repetition=cell.repetition,
        nll=np.asarray(finite[0], dtype=np.float64) if finite else None,
        scored_on=(
            found.get("protocol"), corpus, found.get("seqlen"), found.get("stride"),
            tuple(found.get("tokens") or ()),
        ),
        measured=measured,
        scored=tuple(apart.get("scored") or ()),
        apart={name: np.asarray(apart[name]) for name in ("kl", "agree") if name in apart},
        rounds=rounds(record),
    )  # fmt: skip


def weights_behind(record: Record) -> str:
    """The cell's weights; of a checkpoint that was quantized before the run, those that it was made from."""
    origin = record.model.get("origin")
    made_from = origin.get("weights") if isinstance(origin, dict) else None
    return made_from if isinstance(made_from, str) else record.cell.model.weights


def find_bases(cells: Iterable[Scored]) -> dict[Key, list[Scored]]:
    """The bases by key; several where the suite repeats or varies them."""
    found: dict[Key, list[Scored]] = {}
    for cell in cells:
        if cell.is_base:
            found.setdefault(cell.key, []).append(cell)
    return found


def base_of(cell: Scored, bases: dict[Key, list[Scored]]) -> Scored | None:
    """The cell's base, preferring the same windows, then the same repetition; a base is its own."""
    candidates = bases.get(cell.key, [])
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    return min(
        candidates,
        key=lambda base: (
            base.cell_id != cell.cell_id,
            cell.nll_above(base) is None,
            base.repetition != cell.repetition,
        ),
    )
