"""`View`: what a page says of a frame and its manifests besides the table, as plain data without markup.

Everything here may come from a record and is text; the template escapes it.
"""

from __future__ import annotations

import functools
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import get_args

import pandas as pd

from qbench.report.view.cells import cut
from qbench.report.view.facts import Environment, Manifests, distinct, environment_of, facts
from qbench.report.view.summary import answer
from qbench.results.columns.column import Row
from qbench.results.store.record import Status


@dataclass(frozen=True)
class Group:
    """The cells that are compared: of one model in one dtype on one device, scored alike."""

    title: str
    sentence: str


@dataclass(frozen=True)
class View:
    title: str
    facts: dict[str, str]
    """Models, hardware, when, version: the head of the page."""
    counts: dict[str, int]
    """Cells by status, in the order of `Status`; only those that occur."""
    groups: list[Group]
    problems: list[str]
    environments: list[Environment]


def build_view(frame: pd.DataFrame, manifests: Manifests) -> View:
    """`manifests` maps a run's name to its manifest; what a manifest lacks is left out of the page."""
    return view_of(plain_rows(frame), manifests, list(frame.attrs.get("problems", [])))


def view_of(rows: list[Row], manifests: Manifests, problems: list[str]) -> View:
    """The view of the frame's `plain_rows`."""
    occurring = Counter(row["status"] for row in rows)
    return View(
        title=", ".join(map(cut, distinct(rows, "suite"))) or "No cell has finished yet",
        facts=facts(rows, manifests),
        counts={status: occurring[status] for status in get_args(Status) if occurring[status]},
        groups=[Group(title, answer(members)) for title, members in compared(rows)],
        problems=[cut(problem) for problem in problems],
        environments=[environment_of(run, manifest) for run, manifest in manifests.items()],
    )


def plain_rows(frame: pd.DataFrame) -> list[Row]:
    """The frame's rows as dicts, nulls as None and `missing` parsed (rows that lack the same share it)."""
    values = frame.astype("object")
    rows: list[Row] = values.where(values.notna(), None).to_dict("records")  # type: ignore[assignment]
    parsed = functools.cache(json.loads)
    for row in rows:
        row["missing"] = parsed(row["missing"] or "{}")
    return rows


def compared(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Rows that may be set against each other, by what they have in common.

    That is suite, model, dtype, device and runtime; the run too, where a suite has several, and the
    protocol, where a model was scored by several.
    """
    runs: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        runs[row["suite"]].add(row["run"])
    found: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    names = {(row["run"], row["cell_id"]): row["model"] for row in rows}
    for row in rows:  # a checkpoint that was quantized before the run stands beside its base
        model = str(names.get((row["run"], row["base_cell_id"]), row["model"]))
        ran = [] if row["runtime"] == "eager" else [row["runtime"]]
        run = [row["run"]] if len(runs[row["suite"]]) > 1 else []
        found[row["suite"], model, row["dtype"], row["device"], *ran, *run].append(row)
    first = 0 if len(runs) > 1 else 1
    return [
        (cut(" · ".join((*key[first:], *protocol))), members)
        for key, group in sorted(found.items())
        for protocol, members in _by_protocol(group)
    ]


def _by_protocol(rows: list[Row]) -> list[tuple[tuple[str, ...], list[Row]]]:
    """Rows by protocol, which alone are compared; rows without a perplexity stay with the first."""
    protocols = distinct(rows, "perplexity_protocol")
    if len(protocols) < 2:
        return [((), rows)]
    return [
        ((one,), [row for row in rows if (row["perplexity_protocol"] or protocols[0]) == one])
        for one in protocols
    ]
