"""Columns of `qbench.history()` with dtype and description, and the frame made of its rows."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pandas as pd

from qbench.results.columns.column import Row
from qbench.results.frames.typed import series
from qbench.results.history.runs import fingerprint
from qbench.results.table.columns import columns


def _as_of_a_cell(*names: str) -> dict[str, tuple[str, str]]:
    """Columns that `qbench.load()` has too."""
    return {name: (columns()[name].dtype, columns()[name].description) for name in names}


COLUMNS: dict[str, tuple[str, str]] = {
    **_as_of_a_cell("suite", "run"), "started_at": ("datetime64[us, UTC]", "start of the run, UTC"),
    "commit": ("string", "of qbench; null where it ran outside a checkout"),
    "dirty": ("bool", "whether the tree differed from that commit"), "qbench": ("string", "version"),
    "environment": ("category", "eight digits, equal where machine, driver and libraries are"),
    "environment_facts": ("category", "those facts as JSON"), **_as_of_a_cell("cell_id"),
    "cell": ("category", "model, label, dtype, device in words; unique in its suite"),
    **_as_of_a_cell("model", "method", "label", "params", "dtype", "device", "runtime", "repetition"),
    "metric": ("category", "name of the metric"),
    "unit": ("category", "its unit; empty for a count or a ratio"),
    "value": ("float64", "null where the run has none: `reason` says why"),
    "low": ("float64", "lower end of the 95 % interval, where the metric has one"),
    "high": ("float64", "upper end of the same"),
    "status": ("category", "the record's; missing: planned and not recorded; absent: not in this run"),
    "reason": ("string", "why there is no value"),
    "segment": ("Int64", "number of the stretch without a change, from 0"),
    "is_change_point": ("bool", "whether a new level begins here, in an environment that did not change"),
    "is_environment_change": ("bool", "whether a new environment begins here"),
    "commit_before": ("string", "at the begin of a segment: the commit of the last value before it"),
}  # fmt: skip


def tidy(rows: Iterable[Row]) -> pd.DataFrame:
    """The frame of these rows; `environment` comes as facts and becomes their fingerprint and their JSON."""
    found = list(rows)
    for row in found:
        facts = row["environment"]
        row["environment"] = fingerprint(facts)
        row["environment_facts"] = json.dumps(facts, sort_keys=True, ensure_ascii=False)
    return pd.DataFrame(
        {name: series([row[name] for row in found], dtype) for name, (dtype, _) in COLUMNS.items()}
    )
