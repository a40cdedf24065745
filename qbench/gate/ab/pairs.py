"""Matches the cells of two versions.

Ids hash everything that can change a number, so that the same cell may have another id in another version.
Cells are matched by the words that describe them: model, label, method and parameters, dtype, device,
runtime, repetition. A parameter that only one of the versions knows does not part two cells that agree in
all others; nor does one of another value where the other words name one cell in each version: both read
the same suite, so a default has changed, and that is under test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from qbench.cell import Cell
from qbench.gate.ab.versions import Entry, Role


@dataclass(frozen=True)
class Pair:
    """A cell on both versions, or on one of them."""

    entries: dict[Role, Entry]
    notes: tuple[str, ...] = ()
    """Differences between the two plans of the cell."""

    @property
    def cell(self) -> Cell:
        """The candidate's, where it has one."""
        return (self.entries.get("candidate") or self.entries["baseline"]).cell

    @property
    def whole(self) -> bool:
        """True where both versions can run it."""
        return len(self.entries) == 2 and all(entry.state != "skip" for entry in self.entries.values())

    @property
    def quantizes(self) -> bool:
        """True where the method takes time to quantize: a plan names layers only for one that does."""
        return bool(self.cell.layers)

    def runs(self, name: Role) -> bool:
        entry = self.entries.get(name)
        return entry is not None and entry.state != "skip"


def match(baseline: Sequence[Entry], candidate: Sequence[Entry]) -> list[Pair]:
    """Every cell once, the candidate's in its order, then what only the baseline has."""
    left = list(baseline)
    found: list[Pair] = []
    waiting: list[tuple[int, Entry]] = []
    for index, entry in enumerate(candidate):
        named = [one for one in left if _words(one.cell) == _words(entry.cell)]
        twin = next((one for one in named if one.cell.params == entry.cell.params), None)
        if twin is None:
            waiting.append((index, entry))
        else:
            left.remove(twin)
        found.append(_pair(twin, entry))
    for index, entry in waiting:
        near = [one for one in left if _words(one.cell) == _words(entry.cell) and _agree(one, entry)]
        if len(near) == 1:
            left.remove(near[0])
            found[index] = _pair(near[0], entry)
    for index, entry in waiting:
        alike = [one for one in left if _words(one.cell) == _words(entry.cell)]
        if len(found[index].entries) < 2 and alike and _named(entry, baseline) and _named(entry, candidate):
            left.remove(alike[0])
            found[index] = _pair(alike[0], entry)
    return [*found, *(Pair({"baseline": entry}) for entry in left)]


_words = attrgetter("model.name", "label", "method", "dtype", "device", "runtime", "repetition")
"""Words that describe a cell."""


def _named(entry: Entry, entries: Sequence[Entry]) -> bool:
    """True where its words name one cell alone."""
    return sum(_words(one.cell) == _words(entry.cell) for one in entries) == 1


def _agree(one: Entry, other: Entry) -> bool:
    ours, theirs = one.cell.params, other.cell.params
    return all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())


def _pair(baseline: Entry | None, candidate: Entry) -> Pair:
    if baseline is None:
        return Pair({"candidate": candidate})
    notes = []
    ours, theirs = baseline.cell.params, candidate.cell.params
    if ours.keys() != theirs.keys():
        notes.append(f"parameters that one version lacks: {', '.join(sorted(ours.keys() ^ theirs.keys()))}")
    notes += [
        f"another default of {name}: {ours[name]} in the baseline, {theirs[name]} in the candidate"
        for name in sorted(ours.keys() & theirs.keys())
        if ours[name] != theirs[name]
    ]
    if baseline.cell.model.weights != candidate.cell.model.weights:
        notes.append("the two versions take other weights for the model of this name")
    return Pair({"baseline": baseline, "candidate": candidate}, tuple(notes))
