"""The leaderboard: from a tree of results to one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from qbench.report.context import build_view
from qbench.report.page import Plotlyjs, render_page, write_page
from qbench.results.frame import chosen_runs, from_store
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
    frame = from_store(store, runs)
    manifests = {run.name: store.manifest(run) for run in chosen_runs(store, runs)}
    frame.attrs["problems"] = list(store.problems)
    return write_page(Path(output), render(frame, manifests, plotlyjs=plotlyjs), plotlyjs)


def render(
    frame: pd.DataFrame,
    manifests: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    plotlyjs: Plotlyjs = "inline",
) -> str:
    """The page of this frame (see `qbench.load`); `manifests` maps a run's name to its manifest."""
    view = build_view(frame, manifests or {})
    drawn = any(group.figures for group in view.groups)
    return render_page(
        "leaderboard.html.j2",
        {"view": view, "title": view.title},
        scripts=["table.js", "pictures.js"],
        data={"figures": [group.figures for group in view.groups]},
        drawn=drawn,
        plotlyjs=plotlyjs,
    )
