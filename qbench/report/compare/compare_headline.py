"""The first sentence of a comparison: the differences, the most telling cell first."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.report.compare.differences import Line
from qbench.report.compare.verdict import BEYOND, NO_INTERVAL
from qbench.results.compare.comparison import Comparison
from qbench.results.table.metrics import METRICS

_NAMED = 3
"""Cells that the sentence names."""


def headline(found: Comparison, lines: Sequence[Line]) -> str:
    """Sentences on cells that B lost, on differences, and on cells that were not compared.

    `1 of 27 cells differs: zeropoint 8-bit g64, perplexity worse by 0.40 %. The other 26 are identical …`.
    `lines`: of what ought to be equal and is not.
    """
    compared = sum(bool(pair.compared) for pair in found.pairs)
    said = (found.lost, _differing(found, lines, compared) if lines and compared else found.equality)
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in (*said, *found.lacking) if text)


def _differing(found: Comparison, lines: Sequence[Line], compared: int) -> str:
    """Without its last full stop."""
    by_cell: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        by_cell.setdefault(line.cell, []).append(line)
    leading = sorted(map(_leading, by_cell.values()), key=_weight)
    named = "; ".join(f"{_cell(line, found)}, {_words(line)}" for line in leading[:_NAMED])
    more = f"; and {len(by_cell) - _NAMED} more" if len(by_cell) > _NAMED else ""
    count = f"{len(by_cell)} of {found.of(compared)}"
    said = f"{count} differ{'s' if len(by_cell) == 1 else ''}: {named}{more}"
    same = compared - len(by_cell)
    return f"{said}. The other{f' {same} are' if same > 1 else ' is'} identical bit for bit" if same else said


def _leading(lines: list[Line]) -> Line:
    """The line of one cell that is most certain; its perplexity before others, then by size."""
    return min(lines, key=lambda line: (_rank(line), line.metric != "perplexity", -line.sort))


def _weight(line: Line) -> tuple[bool, int, float]:
    """Sort key: worse or lost first, then by certainty, then by size."""
    return not line.verdict.startswith(("worse", "B has none")), _rank(line), -line.sort


def _rank(line: Line) -> int:
    """Lost, or beyond its interval, first; then exact numbers, those without an interval, raw values."""
    if line.metric not in METRICS:
        return 5
    if line.verdict in (f"worse, {BEYOND}", "B has none"):
        return 0
    if line.verdict == f"better, {BEYOND}":
        return 1
    if line.verdict in ("worse", "better"):
        return 2
    return 4 if line.verdict.endswith(NO_INTERVAL) else 3


def _cell(line: Line, found: Comparison) -> str:
    """The method, and of model, dtype and device what is not the same in all cells."""
    names = ("model", "dtype", "device")
    where = [getattr(line, name) for name in names if len({getattr(pair, name) for pair in found.pairs}) > 1]
    return f"{line.method} ({' '.join(where)})" if where else line.method


def _words(line: Line) -> str:
    """`perplexity worse by 0.40 %`, `weight bytes +50 %`, `weight bytes: B has none`."""
    name = line.metric.replace("_", " ")
    if line.verdict.endswith("has none"):
        return f"{name}: {line.verdict}"
    way, _, beyond = line.verdict.partition(", ")
    if beyond == BEYOND:
        return f"{name} {way} by {line.change[1:]}" if line.change else f"{name} {way}"
    if beyond == NO_INTERVAL:
        return " ".join(filter(None, (name, line.change, f"({way}, {beyond})")))
    if beyond:
        return f"{name} {line.change}, {beyond}"
    return f"{name} {line.change}" if line.change else f"{name} differs"
