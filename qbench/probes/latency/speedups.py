"""How much faster than its base a cell is: by laps that both took part in, where they took turns.

Two rounds with the same `since` and `lap` were timed one right after the other (docs/measuring.md), so what
the machine did over minutes is in both, and in their ratio it cancels. Hence the speedup is the median of
base over cell by shared lap, and its interval that of a median (`medians.py`). Without shared laps only the
quotient of the two medians is left, and nothing says how far it may be off: it has no interval.

Laps are read of the first prompt length and batch size, as every latency column is.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Literal, NamedTuple

from qbench.probes.latency.metrics import first_corner
from qbench.results.stats.medians import FEWEST, median_interval
from qbench.results.store.record import Record

Part = Literal["prefill", "decode"]
TIMES: dict[Part, str] = {"prefill": "prefill_s", "decode": "decode_s_per_token"}
"""Of each speedup the column that it is made of."""

NO_TURNS = "base and cell did not take turns"
TOO_FEW = f"fewer than {FEWEST} shared laps"


@dataclass(frozen=True)
class Rounds:
    """The timed rounds of one cell's first corner, in order; all empty where it has none or no laps."""

    since: str = ""
    """When the laps began that `lap` counts."""
    lap: tuple[int, ...] = ()
    prefill: tuple[float, ...] = ()
    """Seconds to the first token."""
    decode: tuple[float, ...] = ()
    """Seconds per token after it; empty for fewer than two generated tokens."""


def rounds(record: Record) -> Rounds:
    """What the record tells of its laps."""
    corner = first_corner(record)
    if corner is None or not corner.run.get("since") or not corner.run.get("lap"):
        return Rounds()
    return Rounds(corner.run["since"], tuple(corner.run["lap"]), tuple(corner.prefill), tuple(corner.decode))


def by_lap(base: Rounds, cell: Rounds, part: Part) -> list[float]:
    """Seconds of the base over those of the cell, of every lap that both have a round in."""
    if not base.since or base.since != cell.since:
        return []
    theirs, own = getattr(base, part), getattr(cell, part)
    if base.lap == cell.lap:  # as nearly always
        return [above / below for above, below in zip(theirs, own, strict=False) if below > 0]
    by_number = dict(zip(base.lap, theirs, strict=False))
    shared = ((by_number[lap], s) for lap, s in zip(cell.lap, own, strict=False) if lap in by_number)
    return [above / below for above, below in shared if below > 0]


class Speedup(NamedTuple):
    """A factor, above one is faster, and its 95 % interval; or why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    no_interval: str | None = None


def speedup(base: Rounds, cell: Rounds, part: Part, quotient: float | None) -> Speedup:
    """By shared laps; without any, `quotient`, that of the two medians."""
    ratios = sorted(by_lap(base, cell, part))
    if not ratios:
        return Speedup(quotient, no_interval=NO_TURNS)
    ends = median_interval(ratios)
    if ends is None:
        return Speedup(median(ratios), no_interval=TOO_FEW)
    return Speedup(median(ratios), *ends)
