"""Accuracy of lm-eval's tasks: the metrics that are columns of a cell, and the statistics of documents."""

from __future__ import annotations

import json
import math

from qbench.json_object import JsonObject
from qbench.results.columns.column import Display, Gate, Place
from qbench.results.columns.metric import Metric, Text, fact
from qbench.results.store.lookup import Value, probe
from qbench.results.store.record import Record

ACCURACIES = ("acc", "exact_match")
"""Metrics that are a share of documents answered right; the first that a task has is its accuracy."""


def stderr_of_mean(values: list[float]) -> float | None:
    """s / √n with n − 1 degrees of freedom; None for fewer than two values."""
    count = len(values)
    if count < 2:
        return None
    mean = math.fsum(values) / count
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count)


def mcnemar_p(lost: int, gained: int) -> float:
    """Two-sided p-value of McNemar's exact test: the binomial test of `lost` against `gained` at ½."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(lost, gained), lost + gained, 0.5)))


def accuracies(record: Record) -> list[tuple[float, float | None]]:
    """(accuracy, standard error) by name that the suite lists; a tag counts as the mean of its tasks.

    Names without a metric of `ACCURACIES` are left out.
    """
    found = probe(record, "tasks")
    results = {one["name"]: one["results"] for one in (*found.get("tasks", []), *found.get("groups", []))}
    by_name = []
    for leaves in found.get("entries", {}).values():
        shares = [share for leaf in leaves if (share := _accuracy(results.get(leaf, {}))) is not None]
        by_name += [_mean(shares)] if shares else []
    return by_name


def _accuracy(results: dict[str, JsonObject]) -> tuple[float, float | None] | None:
    for wanted in ACCURACIES:
        for key, result in results.items():
            if key.partition(",")[0] == wanted and result["value"] is not None:
                return result["value"], result["stderr"]
    return None


def _mean(shares: list[tuple[float, float | None]]) -> tuple[float, float | None]:
    """Mean of independent shares, and its error √Σs² / k; no error where one of them has none."""
    value = math.fsum(share for share, _ in shares) / len(shares)
    errors = [error for _, error in shares if error is not None]
    spread = math.sqrt(math.fsum(error**2 for error in errors)) / len(shares)
    return value, spread if len(errors) == len(shares) else None


def task_accuracy(record: Record) -> Value:
    shares = accuracies(record)
    return _mean(shares)[0] if shares else None


def task_accuracy_stderr(record: Record) -> Value:
    shares = accuracies(record)
    return _mean(shares)[1] if shares else None


def _no_stderr(record: Record) -> str | None:
    return None if task_accuracy(record) is None else "a task gives no standard error"


def task_documents(record: Record) -> Value:
    found = probe(record, "tasks").get("tasks")
    return float(sum(task["documents"] for task in found)) if found else None


def tasks_text(record: Record) -> str | None:
    """`{"task": {"metric,filter": {"value": …, "stderr": …}}}` as JSON; None without tasks."""
    found = probe(record, "tasks")
    both = (*found.get("tasks", []), *found.get("groups", []))
    shown = {
        one["name"]: {
            key: {"value": result["value"], "stderr": result["stderr"]}
            for key, result in one["results"].items()
        }
        for one in both
    }
    return json.dumps(shown, sort_keys=True, ensure_ascii=False) if shown else None


METRICS = (
    Metric(
        "task_accuracy", "", "higher", "deterministic", "tasks", 3,
        "mean accuracy (acc, else exact_match) over the tasks that the suite names", task_accuracy,
        gate=Gate(0.01, "difference"), group="Tasks", display=Display(90, markdown=35),
    ),
    fact("task_documents", "tasks", "documents evaluated, all tasks together", task_documents, group="Tasks"),
    Metric(
        "task_accuracy_stderr", "", None, "spread", "tasks", 3,
        "standard error of task_accuracy, over documents", task_accuracy_stderr, _no_stderr, group="Tasks",
        place=Place.DETAIL,
    ),
)  # fmt: skip

TEXTS = (
    Text(
        "tasks", "every task's metrics as JSON; qbench.load_tasks gives them as rows", tasks_text,
        place=Place.DETAIL, hidden=True,
    ),
)  # fmt: skip
