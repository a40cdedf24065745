"""Factor by which a cell is faster than its base, by blocks of rounds that both took part in.

Two rounds with the same `since` and number of block were timed one right after the other
(docs/measuring.md), so what the machine did over minutes is in both, and in their ratio it cancels. Hence the
speedup is the median of base over cell by shared block, and its interval that of a median (`medians.py`).
Without shared blocks only the quotient of the two medians is left, and nothing says how far it may be off: it
has no interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from qbench.results.stats.medians import FEWEST, median_interval

NOT_INTERLEAVED = "base and cell did not take turns"
TOO_FEW = f"fewer than {FEWEST} shared blocks"


@dataclass(frozen=True)
class Blocks:
    """The timed rounds of one cell, in order; all empty where it has none or they belong to no block."""

    since: str = ""
    """Start of the blocks that `numbers` count."""
    numbers: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()


class Speedup(NamedTuple):
    """A factor, above one is faster, and its 95 % interval; or why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    no_interval: str | None = None


def by_block(base: Blocks, cell: Blocks) -> list[float]:
    """Seconds of the base over those of the cell, of every block that both have a round in."""
    if not base.since or base.since != cell.since:
        return []
    if base.numbers == cell.numbers:  # as nearly always
        pairs = zip(base.seconds, cell.seconds, strict=False)
        return [above / below for above, below in pairs if below > 0]
    by_number = dict(zip(base.numbers, base.seconds, strict=False))
    own = zip(cell.numbers, cell.seconds, strict=False)
    shared = ((by_number[number], seconds) for number, seconds in own if number in by_number)
    return [above / below for above, below in shared if below > 0]


def speedup(base: Blocks, cell: Blocks, quotient: float | None) -> Speedup:
    """Speedup by shared blocks; without any, `quotient`, that of the two medians."""
    ratios = sorted(by_block(base, cell))
    if not ratios:
        return Speedup(quotient, no_interval=NOT_INTERLEAVED)
    ends = median_interval(ratios)
    if ends is None:
        return Speedup(median(ratios), no_interval=TOO_FEW)
    return Speedup(median(ratios), *ends)
