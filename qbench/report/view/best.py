"""Marks of the best numbers: those that beat every other of their model beyond both intervals, and no tie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from qbench.report.view.cells import interval
from qbench.results.columns.column import Column, Row
from qbench.results.table.metrics import METRICS

_ALIKE = ("suite", "run", "model", "dtype", "device", "runtime", "perplexity_protocol")


def find_best(rows: list[Row], shown: Iterable[Column]) -> set[tuple[int, str]]:
    """Places of rows and names of columns, of quantized cells that ended well and are compared alike."""
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row["status"] == "ok" and row["method"] != "none":
            groups[tuple(row[name] for name in _ALIKE)].append(index)
    found: set[tuple[int, str]] = set()
    for column in filter(_can_be_best, shown):
        for members in groups.values():
            measured = [index for index in members if rows[index][column.name] is not None]
            winners = _winners([rows[index] for index in measured], column)
            found |= {(measured[at], column.name) for at in winners}
    return found


def _can_be_best(column: Column) -> bool:
    """True for a column with a direction and a known spread, unless the method's parameters settle it."""
    metric = METRICS.get(column.name)
    if not column.direction or (metric is not None and metric.chosen):
        return False
    return bool(column.low or column.stderr) or (metric is not None and metric.kind == "deterministic")


def _winners(rows: list[Row], column: Column) -> list[int]:
    """The rows of the method whose worst end beats the best end of every other method.

    Repetitions of a cell are one method; none of one method alone, or if any row has no ends.
    """
    sign = 1.0 if column.direction == "lower" else -1.0
    ends: dict[tuple[Any, ...], list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        low, high = interval(row, column) if column.low or column.stderr else (row[column.name],) * 2
        if low is None or high is None:
            return []
        near, far = sorted((sign * float(low), sign * float(high)))
        ends[_method(row)].append((near, far))
    if len(ends) < 2:
        return []
    worst = {method: max(far for _, far in pairs) for method, pairs in ends.items()}
    chosen = min(worst, key=worst.__getitem__)
    others = min(near for method, pairs in ends.items() if method != chosen for near, _ in pairs)
    return [at for at, row in enumerate(rows) if _method(row) == chosen] if worst[chosen] < others else []


def _method(row: Row) -> tuple[Any, ...]:
    return row["method"], row["label"], row["params"]
