"""The leaderboard: from a tree of results to one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from qbench.report.context import build_view
from qbench.report.page import Plotlyjs, render_page, write_page
from qbench.report.pictures.album import album
from qbench.report.pictures.gather import Gathered
from qbench.results.frame import chosen_runs, from_records
from qbench.results.store import Store


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
    chosen, gathered = chosen_runs(store, runs), Gathered()
    frame = from_records(gathered.watch(record for run in chosen for record in store.records(run)))
    manifests = {run.name: store.manifest(run) for run in chosen}
    frame.attrs["problems"] = list(store.problems)
    return write_page(Path(output), render(frame, manifests, gathered=gathered, plotlyjs=plotlyjs), plotlyjs)


def render(
    frame: pd.DataFrame,
    manifests: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    gathered: Gathered | None = None,
    plotlyjs: Plotlyjs = "inline",
) -> str:
    """The page of this frame (see `qbench.load`); `manifests` maps a run's name to its manifest.

    Pictures of layers, of latency by length and of power need what `gathered` took from the same records.
    """
    view = build_view(frame, manifests or {})
    pictures = album(view.rows, gathered or Gathered())
    return render_page(
        "leaderboard.html.j2",
        {"view": view, "title": view.title, "album": pictures},
        scripts=["packed.js", "table.js", "pictures.js"],
        data={"pictures": pictures.data()},
        drawn=bool(pictures.chapters),
        plotlyjs=plotlyjs,
    )
