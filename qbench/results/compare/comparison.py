"""`Comparison`: the result of comparing two sets of records; `compare.py` makes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from qbench.json_object import JsonObject
from qbench.results.compare.paired import Paired
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


@dataclass(frozen=True)
class Difference:
    """A deterministic number that differs. None: that side has none."""

    metric: str
    a: float | None
    b: float | None


@dataclass(frozen=True)
class Timed:
    """A timed number: `ratio` is b over a.

    `low` and `high` are the smallest and the largest ratio of any two rounds, None where a side has no single
    rounds.
    """

    metric: str
    a: float
    b: float
    ratio: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Pair:
    """One cell that is ok on both sides."""

    cell_id: str
    model: str
    label: str
    dtype: str
    device: str
    compared: tuple[str, ...]
    """Deterministic metrics that at least one side has."""
    differences: tuple[Difference, ...]
    timed: tuple[Timed, ...]
    paired: Mapping[str, Paired]
    """Metric that is a mean over windows → b against a, where both were scored on the same windows."""

    @property
    def identical(self) -> bool:
        return not self.differences


@dataclass(frozen=True)
class Comparison:
    """Two sets of records: `a` first, `b` second."""

    pairs: tuple[Pair, ...]
    only_a: tuple[str, ...]
    """Cells that the other side lacks, in words."""
    only_b: tuple[str, ...]
    not_ok: tuple[str, ...]
    """Cells that both hold and that did not end well on one side or both, with reasons; lost ones first."""
    ends: tuple[StatusChange, ...] = ()
    """Statuses of the cells of `not_ok`, in the same order; the name is that of the JSON key."""
    environment: tuple[str, ...] = ()
    """Facts of machine and software that differ, a line each; see `manifest_facts`."""

    @property
    def one_sided(self) -> bool:
        """True where a cell is ok, or exists, on one side only."""
        return bool(self.only_a or self.only_b or any(end.lost or end.gained for end in self.ends))

    @property
    def lost(self) -> str:
        """`23 cells that ended well in A failed in B`; empty where there are none."""
        broke = [one.b for one in self.ends if one.lost]
        return f"{cells(len(broke))} that ended well in A {ended(broke, 'B')}" if broke else ""

    @property
    def lacking(self) -> list[str]:
        """Sentences, without full stops, on further cells that were not compared."""
        mended = [one.a for one in self.ends if one.gained]
        neither = sum(not one.lost and not one.gained for one in self.ends)
        said = [f"{cells(len(mended))} that {ended(mended, 'A')} ended well in B"] if mended else []
        said += [f"{cells(len(lines))} {'is' if len(lines) == 1 else 'are'} in {side} only"
                 for side, lines in (("A", self.only_a), ("B", self.only_b)) if lines]  # fmt: skip
        return said + ([f"{cells(neither)} ended well on neither side"] if neither else [])

    def of(self, count: int) -> str:
        """`27 cells`; where some were not compared, `the 27 cells that ended well on both sides`."""
        if not (self.lost or self.lacking):
            return f"{count} cells"
        return f"the {cells(count)} that ended well on both sides"

    @property
    def equality(self) -> str:
        """`identical bit for bit: 22 of 23 cells`, counted over the cells that were compared."""
        if not self.pairs:
            return "no cell was measured on both sides: nothing was compared"
        compared = [pair for pair in self.pairs if pair.compared]
        if not compared:
            return f"{cells(len(self.pairs))} on both sides, and none has a deterministic metric"
        same = sum(pair.identical for pair in compared)
        return f"identical bit for bit: {same} of {self.of(len(compared))}"

    @property
    def verdict(self) -> str:
        """Summary: cells that B lost, equality of those compared, and others that were not compared."""
        return "; ".join(filter(None, (self.lost, self.equality, *self.lacking)))

    def to_dict(self) -> JsonObject:
        """The comparison as JSON values."""
        return {"verdict": self.verdict, **asdict(self)}


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
