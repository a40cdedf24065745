"""The leaderboard: from a tree of results to one HTML file."""

from __future__ import annotations

import base64
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from qbench.json_object import JsonObject
from qbench.report.charts.charts import ChartSet, chart_set
from qbench.report.charts.collect import ChartFacts, Collected, chart_facts
from qbench.report.html.page import Plotlyjs, render_page, write_page
from qbench.report.leaderboard.columnar import assembled, best_places, column_data
from qbench.report.leaderboard.details import Details, Entry
from qbench.report.leaderboard.still_table import StillTable, still_table
from qbench.report.view.context import View, plain_rows, view_of
from qbench.report.view.table import TableView, ordered, table_view
from qbench.results.columns.column import Column
from qbench.results.frames.export import parquet_bytes
from qbench.results.frames.frame import from_batches
from qbench.results.frames.record_batch import RecordBatch, batch_of
from qbench.results.store.folders import Run, Store
from qbench.results.store.parallel import together, uncollected
from qbench.results.store.record import Record, reading
from qbench.results.table.columns import columns

SCRIPTS = (
    "packed.js", "view.js", "table.js", "window.js", "keyboard.js", "controls.js", "downloads.js",
    "pictures.js", "panel.js",
)  # fmt: skip
STYLES = ("table.css", "pictures.css", "panel.css")
_COLUMN_PARTS = 6
"""Parts of the table that are made side by side."""
PARQUET_LIMIT = 16_000_000
"""Bytes of Parquet that the page brings along; of more it says how to make the file."""


def write_report(
    results: str | Path,
    output: str | Path,
    *,
    runs: Literal["newest", "all"] = "newest",
    plotlyjs: Plotlyjs = "inline",
) -> Path:
    """Reads a tree of results and writes the page; returns where.

    Files that cannot be read are named on the page. `plotlyjs`: `inline` puts plotly.js into the page (4.8
    MB), `directory` beside it, `cdn` leaves it to the network. ResultsError where there is no run at all.
    """
    store = Store(Path(results), strict=False)
    chosen = store.chosen(runs)
    manifests = {run.name: store.manifest(run) for run in chosen}
    collected, details = Collected(), Details.of(manifests)
    with uncollected():
        frame = from_batches(_batches(store, chosen, collected, details))
        frame.attrs["problems"] = list(store.problems)
        page = render(frame, manifests, collected=collected, details=details, plotlyjs=plotlyjs)
    return write_page(Path(output), page, plotlyjs)


def _batches(
    store: Store, runs: Sequence[Run], collected: Collected, details: Details
) -> Iterator[RecordBatch]:
    """The records by batches; what pictures and panels need goes to those two, from the same one reading."""

    def read(records: Iterator[Record]) -> tuple[RecordBatch, list[ChartFacts | None], list[Entry]]:
        seen: list[ChartFacts | None] = []
        entries: list[Entry] = []

        def watched() -> Iterator[Record]:
            for record in records:
                with reading(record):
                    seen.append(chart_facts(record))
                    entries.append(details.entry(record))
                yield record

        return batch_of(watched()), seen, entries

    for run in runs:
        for batch, seen, entries in store.by_parts(run, read):
            for one, entry in zip(seen, entries, strict=True):
                collected.add(one)
                details.take(entry)
            yield batch


def render(
    frame: pd.DataFrame,
    manifests: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    collected: Collected | None = None,
    details: Details | None = None,
    plotlyjs: Plotlyjs = "inline",
) -> str:
    """The page of this frame (see `qbench.load`); `manifests` maps a run's name to its manifest.

    Charts of layers, of latency by length and of power need what `collected` holds of the same records,
    a cell's panel what `details` took.
    """
    rows = plain_rows(frame)
    made = _made(rows, manifests or {}, list(frame.attrs.get("problems", [])), collected or Collected())
    parquet = parquet_bytes(frame) if rows else b""  # not in a forked child: Arrow has threads
    data: JsonObject = {"pictures": made.charts.data()}
    if details is not None:
        data["details"] = details.data()
    if rows:
        data["table"] = made.table
    if 0 < len(parquet) <= PARQUET_LIMIT:
        data["parquet"] = base64.b64encode(parquet).decode()
    return render_page(
        "leaderboard.html.j2",
        {
            "view": made.view,
            "table": made.still,
            "titles": {column.name: column.title for column in columns().values() if column.dimension},
            "title": made.view.title,
            "charts": made.charts,
            "cells": len(rows),
            "parquet_bytes": len(parquet),
            "with_parquet": "parquet" in data,
        },
        scripts=SCRIPTS,
        styles=STYLES,
        data=data,
        drawn=bool(made.charts.chapters),
        plotlyjs=plotlyjs,
    )


@dataclass(frozen=True)
class _Made:
    """Parts of a page; making them takes seconds for ten thousand rows."""

    view: View
    charts: ChartSet
    table: JsonObject
    """Data that the script reads."""
    still: StillTable


def _made(
    rows: list[JsonObject],
    manifests: Mapping[str, Mapping[str, Any]],
    problems: list[str],
    collected: Collected,
) -> _Made:
    """Side by side where the rows are many."""
    view = table_view(ordered(rows))
    present = [one.column for one in view.fields.values()]
    parts = [present[start::_COLUMN_PARTS] for start in range(_COLUMN_PARTS)]
    charts, around, best, *made = together(
        [
            lambda: chart_set(rows, collected),
            lambda: view_of(rows, manifests, problems),
            lambda: best_places(view),
            *(functools.partial(_columns, view, part) for part in parts),
        ],
        len(rows),
    )
    found = {name: data for part in made for name, data in part.items()}
    table = assembled(view, {name: found[name] for name in view.fields}, best)
    return _Made(around, charts, table, still_table(view, best))


def _columns(view: TableView, shown: list[Column]) -> dict[str, JsonObject]:
    return {column.name: column_data(view, column) for column in shown}
