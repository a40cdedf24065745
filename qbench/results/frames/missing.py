"""Reasons of null numbers in ok rows: the column `missing`.

A number that is read from one record has its metric's own reason. One that relates cells (a ratio, a speedup)
or comes of all windows (an interval) is explained here: by the number that it would be made of, else by the
base.
"""

from __future__ import annotations

from operator import itemgetter

from qbench.results.columns.column import Row
from qbench.results.columns.metric import Metric
from qbench.results.frames.base import BY_WINDOW, PAIRED, QUOTIENTS, Related
from qbench.results.table.metrics import METRICS

Reasons = dict[str, str]

ONE_WINDOW = "one window says nothing of the spread"
TOO_LARGE = "too large for a number"
OTHER_WINDOWS = "the base was scored on other windows"


def with_ends(name: str) -> tuple[str, str, str]:
    """The columns of a number and its interval."""
    return name, f"{name}_low", f"{name}_high"


OVER_WINDOWS = {name: name for name in BY_WINDOW} | {metric.relation: metric.name for metric in PAIRED}
"""Column whose interval is over windows → the metric whose windows they are."""
RELATED = (
    *(column for name in OVER_WINDOWS for column in with_ends(name)),
    *(
        column
        for name, versus in QUOTIENTS.items()
        for column in with_ends(METRICS[name].relation)[: 3 if versus.blocks else 1]
    ),
)
"""Columns of numbers that `frame.py` fills in."""
_RELATED, _related = frozenset(RELATED), itemgetter(*RELATED)


def of_row(row: Row, cell: Related, base: Related | None) -> Reasons:
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


def _of_related(row: Row, cell: Related, base: Related | None, known: Reasons) -> Reasons:
    """Reasons of null numbers that relate cells or have an interval."""
    found = dict(known)
    for metric in PAIRED:
        if row[metric.relation] is None:
            found[metric.relation] = _not_paired(metric, row, cell, base, known)
    for name, metric_name in OVER_WINDOWS.items():
        cause = ONE_WINDOW if cell.windows[metric_name].count < 2 else TOO_LARGE
        found |= of_ends(name, found.get(name, cause) if row[name] is None else cause)
    for name, versus in QUOTIENTS.items():
        relation = METRICS[name].relation
        found[relation] = _no_quotient(row, cell, name, base, known)
        if versus.blocks and row[relation] is None:
            found |= of_ends(relation, found[relation])
    return {name: reason for name, reason in found.items() if name not in _RELATED or row[name] is None}


def of_ends(name: str, reason: str) -> Reasons:
    """One reason for both ends of an interval."""
    return {f"{name}_low": reason, f"{name}_high": reason}


def _not_paired(metric: Metric, row: Row, cell: Related, base: Related | None, known: Reasons) -> str:
    own = cell.windows[metric.name]
    if not own.sums:
        return known.get(metric.name, TOO_LARGE)
    if base is None:
        return no_base(row)
    other = base.windows[metric.name]
    if not other.sums:
        return f"the base has no finite {metric.name}" if other.count else "the base was not scored"
    return TOO_LARGE if own.like(other) else OTHER_WINDOWS


def _no_quotient(row: Row, cell: Related, name: str, base: Related | None, known: Reasons) -> str:
    if cell.measured[name] is None:
        return known[name]
    if base is None:
        return no_base(row)
    return f"the base has no {name}" if base.measured[name] is None else f"a {name} is zero"


def no_base(row: Row) -> str:
    """Reason that the cell has no base."""
    if row["method"] == "saved":
        return (
            "no ok `none` cell, in this run, dtype, device and runtime, of the model that the checkpoint was "
            "made from"
        )
    return "no ok `none` cell of the same run, model, dtype, device and runtime"
