"""The base of a cell: the unquantized one that its ratios relate to."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from qbench.probes.latency.speedups import Rounds, rounds
from qbench.probes.quality.metrics import divergence, windows
from qbench.results.stats.bootstrap import Kind
from qbench.results.store.lookup import probe
from qbench.results.store.record import Record

Key = tuple[str, str, str, str, str, str]
Same = TypeVar("Same", bound=Hashable)
Packed = bytes
"""Numbers by window as float64; arrays take ten times as long to send from one process to another."""

APART: tuple[tuple[str, str, Kind], ...] = (
    ("kl_divergence", "kl", "own"),
    ("top1_agreement", "agree", "difference"),
)
"""Metric, its sums by window, and how they correlate: KL nearly as losses do. Differences of two cells do as
the sums themselves: those of KL from one window to the next by 0.25 and 0.27, KL by 0.32 and 0.30 (medians
over the two models of the committed tour), those of top-1 agreement hardly at all (−0.01)."""


@dataclass(frozen=True)
class Scored:
    """What relating a cell to others needs, so that its record need not be kept."""

    cell_id: str
    key: Key
    """Suite, run, unquantized weights, dtype, device and runtime: equal for a cell and its base."""
    is_base: bool
    repetition: int
    nll: Packed | None
    """Nat by window; None where quality was not measured."""
    scored_on: tuple[Any, ...]
    """Protocol, corpus hash, window length, stride, `windows`: cells are paired where it is equal."""
    windows: Packed
    """Scored tokens by window."""
    measured: dict[str, float | None]
    """Of the columns that ratios are made of."""
    scored: Packed
    """Tokens by window that divergence was measured on; empty where it was not."""
    apart: Mapping[str, Packed]
    """Of the record's divergence by window: `kl`, `agree`; empty where it has none."""
    rounds: Rounds
    """Its timed rounds by lap."""

    def nll_above(self, base: Scored | None) -> NDArray[np.float64] | None:
        """Nat by window beyond the base's; None where the two were not scored on the same windows."""
        if base is None or not self.scored_like(base):
            return None
        return losses([self]) - losses([base])

    def scored_like(self, base: Scored) -> bool:
        """Whether both have losses, of the same windows."""
        return self.nll is not None and base.nll is not None and self.scored_on == base.scored_on

    @property
    def tokens(self) -> NDArray[np.float64]:
        """Scored tokens by window."""
        return unpacked([self.windows])


def losses(cells: Iterable[Scored]) -> NDArray[np.float64]:
    """Nat by window, of all these cells one after the other."""
    return unpacked(cell.nll or b"" for cell in cells)


def unpacked(packed: Iterable[Packed]) -> NDArray[np.float64]:
    """The numbers of all of them, one after the other."""
    return np.frombuffer(b"".join(packed))


def _packed(values: Sequence[float]) -> Packed:
    return array("d", values).tobytes()


@functools.lru_cache(maxsize=1024)
def _one_of_each(same: Same) -> Same:
    """What is the same object is sent once, and equal to itself at once."""
    return same


def scored(record: Record, cell_id: str, measured: dict[str, float | None]) -> Scored:
    cell = record.cell
    found = probe(record, "perplexity")
    finite, apart = windows(record), divergence(record)
    corpus = (found.get("corpus") or {}).get("sha256")
    tokens = _one_of_each(_packed(found.get("tokens") or ()))
    by_window = {name: apart[name] for _, name, _ in APART if name in apart}
    if any(len(sums) != len(apart["scored"]) for sums in by_window.values()):
        raise ValueError("divergence: kl, agree and scored are not of the same windows")
    return Scored(
        cell_id=cell_id,
        key=_one_of_each(
            (record.suite, record.run, weights_behind(record), cell.dtype, cell.device, cell.runtime)
        ),
        is_base=cell.method == "none" and record.status == "ok",
        repetition=cell.repetition,
        nll=_packed(finite[0]) if finite else None,
        scored_on=(found.get("protocol"), corpus, found.get("seqlen"), found.get("stride"), tokens),
        windows=tokens,
        measured=measured,
        scored=_one_of_each(_packed(apart.get("scored") or ())),
        apart={name: _packed(sums) for name, sums in by_window.items()},
        rounds=rounds(record),
    )


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
