"""`load_tasks`: every metric of every lm-eval task as one tidy pandas DataFrame, a row per cell and metric.

    from qbench import load_tasks
    load_tasks("results/").pivot_table(index="label", columns="task", values="value")

The change against the base is paired: the same documents, outcome by outcome. For outcomes that are right or
wrong that is McNemar's setting (McNemar, Psychometrika 12, 1947): only the documents on which the two differ
say anything, and under no difference each of them falls to either side with probability one half.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import pandas as pd

from qbench.json_object import JsonObject
from qbench.probes.tasks.metrics import mcnemar_p, stderr_of_mean
from qbench.results.columns.column import Row
from qbench.results.frames.base import base_of, find_bases, measured_of, related_of
from qbench.results.store.folders import Store
from qbench.results.store.lookup import probe
from qbench.results.store.record import Record
from qbench.results.table.columns import identity

TASK_COLUMNS = {
    "suite": "string", "run": "string", "cell_id": "string", "model": "string", "method": "string",
    "label": "string", "dtype": "string", "device": "string", "repetition": "Int64", "task": "string",
    "metric": "string", "filter": "string", "value": "float64", "stderr": "float64", "documents": "Int64",
    "num_fewshot": "Int64", "higher_is_better": "boolean", "base_value": "float64", "change": "float64",
    "change_stderr": "float64", "lost": "Int64", "gained": "Int64", "mcnemar_p": "float64",
}  # fmt: skip
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
    measured = [
        (record, related_of(record, record.cell.id, measured_of(record)))
        for record in records
        if probe(record, "tasks").get("tasks")
    ]
    bases = find_bases(cell for _, cell in measured)
    by_cell = {(cell.key, cell.cell_id): record for record, cell in measured}
    rows = []
    for record, cell in measured:
        base = base_of(cell, bases)
        rows += list(_rows(record, by_cell[base.key, base.cell_id] if base else None))
    data = {
        name: pd.Series([row.get(name) for row in rows], dtype=dtype) for name, dtype in TASK_COLUMNS.items()
    }
    return pd.DataFrame(data)


def _rows(record: Record, base: Record | None) -> Iterator[Row]:
    found = probe(record, "tasks")
    others = {one["name"]: one for one in probe(base, "tasks").get("tasks", [])} if base else {}
    for task in (*found["tasks"], *found.get("groups", [])):
        for key, result in task["results"].items():
            metric, _, kind = key.partition(",")
            yield {
                **identity(record),
                "task": task["name"],
                "metric": metric,
                "filter": kind,
                **result,
                "documents": task.get("documents"),
                "num_fewshot": task.get("num_fewshot"),
                **_against(task, others.get(task["name"]), key),
            }


def _against(task: JsonObject, base: JsonObject | None, key: str) -> Row:
    """The paired change of one metric; empty where there is no base on the same documents."""
    if base is None or key not in base["results"]:
        return {}
    if task["documents_sha256"] != base["documents_sha256"]:
        return {}
    found: Row = {"base_value": base["results"][key]["value"]}
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
