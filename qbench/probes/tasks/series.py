"""Raw samples of tasks: the outcome of every document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from qbench.results.columns.raw_series import RawSeries
from qbench.results.store.lookup import probe
from qbench.results.store.record import Record

QUANTITIES = {
    "metric,filter": "what a document gave under lm-eval's metric; `item` is the task",
    "log_likelihood": "of a document's request; `step` is the choice",
}
"""Quantity → meaning."""


def series(record: Record) -> Iterator[RawSeries]:
    for task in probe(record, "tasks").get("tasks") or ():
        for metric, values in (task.get("items") or {}).items():
            yield _documents(task["name"], metric, "", values)
        if task.get("log_likelihoods"):
            yield _documents(task["name"], "log_likelihood", "nat", task["log_likelihoods"])


def _documents(task: str, quantity: str, unit: str, values: Sequence[Any]) -> RawSeries:
    """By document: a number, or a list of numbers, whose places are the steps."""
    rows = [
        (document, step if isinstance(value, list) else None, one)
        for document, value in enumerate(values)
        for step, one in enumerate(value if isinstance(value, list) else [value])
    ]
    documents, steps, numbers = ([row[place] for row in rows] for place in range(3))
    return RawSeries("tasks", quantity, unit, numbers, task, index=documents, step=steps)
