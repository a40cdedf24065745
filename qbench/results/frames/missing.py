"""Why numbers of an ok row are null: the column `missing`, a reason for every one of them.

What is read from one record has its metric's own reason. What relates cells (a ratio, a speedup) or comes of
all windows (an interval) is explained here: by the number that it would be made of, else by the base.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from qbench.probes.latency.speedups import TIMES
from qbench.results.frames.base import Scored

Row = dict[str, Any]
Reasons = dict[str, str]

ONE_WINDOW = "one window says nothing of the spread"
TOO_LARGE = "too large for a number"
NO_STDERR = "a task gives no standard error"
OTHER_WINDOWS = "the base was scored on other windows"


def with_ends(name: str) -> tuple[str, str, str]:
    """The columns of a number and its interval."""
    return name, f"{name}_low", f"{name}_high"


OVER_WINDOWS = ("perplexity", "perplexity_ratio", "kl_divergence", "top1_agreement")
"""Numbers whose intervals are over windows."""
RELATED = (
    *(column for name in OVER_WINDOWS for column in with_ends(name)),
    "weight_bytes_ratio",
    *(column for part in TIMES for column in with_ends(f"{part}_speedup")),
)
"""Columns of numbers that `frame.py` fills in."""
_RELATED, _related = frozenset(RELATED), itemgetter(*RELATED)


def of_row(row: Row, cell: Scored, base: Scored | None) -> Reasons:
    """Column → reason, of every number of a finished row that is null.

    `row` needs no more than `status`, `method`, `missing` and what is in `RELATED`. Its `missing` holds what
    is known so far: those of single metrics, and why a speedup has no interval.
    """
    if row["status"] != "ok":
        return {}
    known: Reasons = row["missing"]
    filled = [name for name in known.keys() & _RELATED if row[name] is not None]
    if filled:
        known = {name: reason for name, reason in known.items() if name not in filled}
    return _of_related(row, cell, base, known) if None in _related(row) else known


def _of_related(row: Row, cell: Scored, base: Scored | None, known: Reasons) -> Reasons:
    """Of the numbers that relate cells or have an interval, those that are null."""
    found = dict(known)
    if row["perplexity_ratio"] is None:
        found["perplexity_ratio"] = _no_perplexity_ratio(row, cell, base, known)
    cause = ONE_WINDOW if len(cell.tokens) < 2 else TOO_LARGE
    for name in OVER_WINDOWS:
        found |= of_ends(name, found.get(name, cause) if row[name] is None else cause)
    found |= _relative(row, cell, base, known)
    return {name: reason for name, reason in found.items() if name not in _RELATED or row[name] is None}


def of_ends(name: str, reason: str) -> Reasons:
    """The same reason for both ends of an interval."""
    return {f"{name}_low": reason, f"{name}_high": reason}


def _no_perplexity_ratio(row: Row, cell: Scored, base: Scored | None, known: Reasons) -> str:
    if cell.nll is None:
        return known.get("perplexity", TOO_LARGE)
    if base is None:
        return no_base(row)
    if base.nll is None:
        return "the base has no finite perplexity" if len(base.tokens) else "the base was not scored"
    return OTHER_WINDOWS if cell.nll_above(base) is None else TOO_LARGE


def _relative(row: Row, cell: Scored, base: Scored | None, known: Reasons) -> Reasons:
    found = {"weight_bytes_ratio": _no_quotient(row, cell, "weight_bytes", base, known)}
    for part, time in TIMES.items():
        name = f"{part}_speedup"
        found[name] = _no_quotient(row, cell, time, base, known)
        if row[name] is None:
            found |= of_ends(name, found[name])
    return found


def _no_quotient(row: Row, cell: Scored, name: str, base: Scored | None, known: Reasons) -> str:
    if cell.measured[name] is None:
        return known[name]
    if base is None:
        return no_base(row)
    return f"the base has no {name}" if base.measured[name] is None else f"a {name} is zero"


def no_base(row: Row) -> str:
    """Why the cell relates to none."""
    if row["method"] == "saved":
        return (
            "no ok `none` cell, in this run, dtype, device and runtime, of the model that the checkpoint was "
            "made from"
        )
    return "no ok `none` cell of the same run, model, dtype, device and runtime"
