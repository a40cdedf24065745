"""The base of a cell: the unquantized one that its ratios relate to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from qbench.results.metrics import METRICS
from qbench.results.record import Record
from qbench.results.samples import probe, windows

Key = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Base:
    """What ratios need of an ok `none` cell."""

    cell_id: str
    repetition: int
    nll: list[float] | None
    """Nat by window."""
    scored: tuple[Any, ...]
    """What was scored; two cells are paired only where this is equal."""
    weight_bytes: float | None
    prefill_s: float | None
    decode_s_per_token: float | None

    def same_windows(self, record: Record) -> bool:
        return self.nll is not None and self.scored == scored_on(record)


def scored_on(record: Record) -> tuple[Any, ...]:
    """Protocol, corpus hash, window length and tokens per window."""
    found = probe(record, "perplexity")
    corpus = (found.get("corpus") or {}).get("sha256")
    return found.get("protocol"), corpus, found.get("seqlen"), tuple(found.get("tokens") or ())


def find_bases(records: Iterable[Record]) -> dict[Key, list[Base]]:
    """The bases by run, model, dtype and device; several where the suite repeats or varies them."""
    found: dict[Key, list[Base]] = {}
    for record in records:
        if record.cell.method == "none" and record.status == "ok":
            found.setdefault(_key(record), []).append(_base(record))
    return found


def base_of(record: Record, bases: dict[Key, list[Base]]) -> Base | None:
    """The cell's base, preferring the same windows, then the same repetition; a base is its own."""
    candidates = bases.get(_key(record), [])
    if not candidates:
        return None
    return min(
        candidates,
        key=lambda base: (not base.same_windows(record), base.repetition != record.cell.repetition),
    )


def _key(record: Record) -> Key:
    cell = record.cell
    return record.suite, record.run, cell.model.weights, cell.dtype, cell.device


def _base(record: Record) -> Base:
    measured = windows(record)
    return Base(
        cell_id=record.cell.id,
        repetition=record.cell.repetition,
        nll=measured[0] if measured else None,
        scored=scored_on(record),
        weight_bytes=METRICS["weight_bytes"].value(record),
        prefill_s=METRICS["prefill_s"].value(record),
        decode_s_per_token=METRICS["decode_s_per_token"].value(record),
    )
