"""Tasks: accuracy of lm-eval's tasks, a column in the frame of cells, and a frame of their own, a row per
metric.

    from qbench.probes.tasks.metrics import load_tasks
    load_tasks("results/").pivot_table(index="label", columns="task", values="value")

The change against the base is paired: the same documents, outcome by outcome. For outcomes that are right or
wrong that is McNemar's setting (McNemar, Psychometrika 12, 1947): only the documents on which the two differ
say anything, and under no difference each of them falls to either side with probability one half."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from qbench.results.columns.metric import Metric, fact
from qbench.results.frames.base import Scored, base_of, find_bases, scored
from qbench.results.store.folders import Store
from qbench.results.store.lookup import Value, probe
from qbench.results.store.record import Record

ACCURACIES = ("acc", "exact_match")
"""Metrics that are a share of documents answered right; the first that a task has is its accuracy."""

TASK_COLUMNS = {
    "suite": "string",
    "run": "string",
    "cell_id": "string",
    "model": "string",
    "method": "string",
    "label": "string",
    "dtype": "string",
    "device": "string",
    "repetition": "Int64",
    "task": "string",
    "metric": "string",
    "filter": "string",
    "value": "float64",
    "stderr": "float64",
    "documents": "Int64",
    "num_fewshot": "Int64",
    "higher_is_better": "boolean",
    "base_value": "float64",
    "change": "float64",
    "change_stderr": "float64",
    "lost": "Int64",
    "gained": "Int64",
    "mcnemar_p": "float64",
}
"""Columns of `task_results`, in order, with their dtypes: `lost` and `gained` count documents that the base
answers right and this cell wrong, and the other way round; `change_stderr` is that of the paired mean
difference."""


def load_tasks(path: str | Path = "results/", runs: Literal["newest", "all"] = "newest") -> pd.DataFrame:
    """`task_results` of the newest run of each suite below `path`, or of all runs."""
    store = Store(Path(path))
    return task_results(record for run in store.chosen(runs) for record in store.records(run))


def task_results(records: Iterable[Record]) -> pd.DataFrame:
    """A row per cell, task (or group) and metric, of the records that have tasks; bases are found among
    them."""
    measured = [_Measured(record, scored(record, record.cell.id, {})) for record in records if _has(record)]
    bases = find_bases(one.cell for one in measured)
    by_cell = {(one.cell.key, one.cell.cell_id): one for one in measured}
    rows = []
    for one in measured:
        base = base_of(one.cell, bases)
        rows += list(_rows(one.record, by_cell[base.key, base.cell_id].record if base else None))
    data = {
        name: pd.Series([row.get(name) for row in rows], dtype=dtype) for name, dtype in TASK_COLUMNS.items()
    }
    return pd.DataFrame(data)


@dataclass(frozen=True)
class _Measured:
    record: Record
    cell: Scored


def _has(record: Record) -> bool:
    return bool(probe(record, "tasks").get("tasks"))


def _rows(record: Record, base: Record | None) -> Iterator[dict[str, Any]]:
    found = probe(record, "tasks")
    others = {one["name"]: one for one in probe(base, "tasks").get("tasks", [])} if base else {}
    for task in (*found["tasks"], *found.get("groups", [])):
        for key, result in task["results"].items():
            metric, _, kind = key.partition(",")
            yield {
                **_identity(record),
                "task": task["name"],
                "metric": metric,
                "filter": kind,
                **result,
                "documents": task.get("documents"),
                "num_fewshot": task.get("num_fewshot"),
                **_against(task, others.get(task["name"]), key),
            }


def _identity(record: Record) -> dict[str, Any]:
    cell = record.cell
    names = ("method", "label", "dtype", "device", "repetition")
    own = {"suite": record.suite, "run": record.run, "cell_id": cell.id, "model": cell.model.name}
    return {**own, **{name: getattr(cell, name) for name in names}}


def _against(task: dict[str, Any], base: dict[str, Any] | None, key: str) -> dict[str, Any]:
    """The paired change of one metric; empty where there is no base on the same documents."""
    if base is None or key not in base["results"]:
        return {}
    if task["documents_sha256"] != base["documents_sha256"]:
        return {}
    found: dict[str, Any] = {"base_value": base["results"][key]["value"]}
    if found["base_value"] is not None and task["results"][key]["value"] is not None:
        found["change"] = task["results"][key]["value"] - found["base_value"]
    pairs = list(zip(task["items"].get(key, []), base["items"].get(key, []), strict=True))
    if not pairs or not all(isinstance(value, float | int) for pair in pairs for value in pair):
        return found
    found["change_stderr"] = stderr_of_mean([own - other for own, other in pairs])
    if all(value in (0, 1) for pair in pairs for value in pair):
        found["lost"] = sum(own < other for own, other in pairs)
        found["gained"] = sum(own > other for own, other in pairs)
        found["mcnemar_p"] = mcnemar_p(found["lost"], found["gained"])
    return found


def stderr_of_mean(values: list[float]) -> float | None:
    """s / √n with n − 1 degrees of freedom; None for fewer than two values."""
    count = len(values)
    if count < 2:
        return None
    mean = math.fsum(values) / count
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count)


def mcnemar_p(lost: int, gained: int) -> float:
    """Two-sided exact p: how often `lost + gained` fair coins part at least so unevenly."""
    count, fewer = lost + gained, min(lost, gained)
    term = tail = 1
    for k in range(fewer):
        term = term * (count - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << count))


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


def _accuracy(results: dict[str, dict[str, Any]]) -> tuple[float, float | None] | None:
    for wanted in ACCURACIES:
        for key, result in results.items():
            if key.partition(",")[0] == wanted and result["value"] is not None:
                return result["value"], result["stderr"]
    return None


def _mean(shares: list[tuple[float, float | None]]) -> tuple[float, float | None]:
    """Of independent shares: their mean, and √Σs² / k; no error where one of them has none."""
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
    ),
    fact("task_documents", "tasks", "documents evaluated, all tasks together", task_documents),
)  # fmt: skip
