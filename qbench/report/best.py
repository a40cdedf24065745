"""Which numbers are marked: those that beat every other of their model beyond both intervals, and no tie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from qbench.report.cells import Row, interval
from qbench.report.shown import Shown
from qbench.results.metrics import METRICS

_ALIKE = ("suite", "run", "model", "dtype", "device", "runtime", "perplexity_protocol")


def find_best(rows: list[Row], shown: Iterable[Shown]) -> set[tuple[int, str]]:
    """Places of rows and names of columns, of quantized cells that ended well and are compared alike."""
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row["status"] == "ok" and row["method"] != "none":
            groups[tuple(row[name] for name in _ALIKE)].append(index)
    found = set()
    for column in filter(_can_be_best, shown):
        for members in groups.values():
            measured = [index for index in members if rows[index][column.name] is not None]
            best = _winner([rows[index] for index in measured], column)
            if best is not None:
                found.add((measured[best], column.name))
    return found


def _can_be_best(column: Shown) -> bool:
    """Not what a method was told (its bits), nor what varies and has no interval: of no known spread."""
    if column.name == "bits_per_weight" or not column.direction:
        return False
    metric = METRICS.get(column.name)
    return bool(column.low or column.stderr) or (metric is not None and metric.kind == "deterministic")


def _winner(rows: list[Row], column: Shown) -> int | None:
    """The row whose worst end beats the best end of every other; None of one, or if any has no ends."""
    if len(rows) < 2:
        return None
    sign = 1.0 if column.direction == "lower" else -1.0
    worst, best = [], []
    for row in rows:
        low, high = interval(row, column) if column.low or column.stderr else (row[column.name],) * 2
        if low is None or high is None:
            return None
        near, far = sorted((sign * float(low), sign * float(high)))
        best.append(near)
        worst.append(far)
    chosen = min(range(len(rows)), key=worst.__getitem__)
    others = min(end for index, end in enumerate(best) if index != chosen)
    return chosen if worst[chosen] < others else None
