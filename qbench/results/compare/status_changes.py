"""Statuses of cells that are not ok on both sides of a comparison, and the words for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qbench.results.store.record import Record

ENDED = {"failed": "failed", "oom": "ran out of memory", "timeout": "ran out of time"}
"""Status → words for the end of the cell."""


@dataclass(frozen=True)
class StatusChange:
    """Statuses of a cell that both sides hold and that is not ok on at least one of them."""

    cell_id: str
    a: str
    b: str

    @property
    def lost(self) -> bool:
        return self.a == "ok"

    @property
    def gained(self) -> bool:
        return self.b == "ok"

    @property
    def where(self) -> str:
        """`ok in A, failed in B`, `failed on both sides`."""
        return f"{self.a} on both sides" if self.a == self.b else f"{self.a} in A, {self.b} in B"


def status_changes(pairs: Iterable[tuple[Record, Record]]) -> list[tuple[StatusChange, str]]:
    """Cells that are not ok on both sides, each in words with the reasons.

    Cells that B lost come first, those that are ok on neither side last.
    """
    found = [
        (StatusChange(a.cell.id, a.status, b.status), _in_words(a, b))
        for a, b in pairs
        if not a.status == b.status == "ok"
    ]
    return sorted(found, key=lambda one: (not one[0].lost, not one[0].gained))


def cells(count: int) -> str:
    return f"{count} cell{'' if count == 1 else 's'}"


def ended(statuses: Sequence[str], side: str) -> str:
    """`failed in B`, `were skipped in B`, `did not end well in B (20 failed, 3 oom)`."""
    counts = Counter(statuses)
    if len(counts) > 1:
        how = ", ".join(f"{count} {status}" for status, count in counts.items())
        return f"did not end well in {side} ({how})"
    were = "was" if len(statuses) == 1 else "were"
    return f"{ENDED.get(statuses[0], f'{were} {statuses[0]}')} in {side}"


def _in_words(a: Record, b: Record) -> str:
    """`austen-6m gptq bf16 cpu: B: failed, ValueError: …`."""
    reasons = [
        f"{name}: {record.status}, {record.reason}" for name, record in (("A", a), ("B", b)) if record.reason
    ]
    return f"{a.cell.model.name} {a.cell.label} {a.cell.dtype} {a.cell.device}: {'; '.join(reasons)}"
