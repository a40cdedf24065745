"""`qbench history`: shows the runs of a results tree as series over time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qbench.cli.options import FilterOption


def history(
    metric: Annotated[
        str, typer.Argument(metavar="[METRIC]", help="Such as decode_s_per_token, or all of them.")
    ] = "all",
    results: Annotated[
        Path, typer.Argument(metavar="[RESULTS]", help="A results folder, or one suite's folder in it.")
    ] = Path("results"),
    suite: Annotated[str | None, typer.Option("--suite", help="Only this suite.")] = None,
    filter_: FilterOption = [],  # noqa: B006
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Write a row per run and cell: .parquet, .csv, .json."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the trends page.")
    ] = None,
    plotlyjs: Annotated[
        Literal["inline", "cdn", "directory"], typer.Option(help="Of the page; see `qbench report`.")
    ] = "inline",
) -> None:
    """Show a metric over all runs: its level, where it changed and between which commits, and its gaps.

    Exit code: 0 shown, also where nothing was measured yet of the metric; 2 nothing can be read.
    """
    from qbench.cli.console import console
    from qbench.report.history.trends_text import drawn
    from qbench.results.frames.export import export as write
    from qbench.results.history.history import frame_of, read_series
    from qbench.results.store.folders import Store
    from qbench.suite.rules import parse_filter

    store = Store(results, strict=False)
    rules = [parse_filter(text) for text in filter_]
    found = read_series(store, None if metric == "all" else metric, suite=suite, rules=rules)
    for problem in store.problems:
        typer.echo(f"left out: {problem}", err=True)
    if export is not None:
        typer.echo(f"{write(frame_of(found), export)}: {sum(len(series.points) for series in found)} rows")
    if html is not None:
        from qbench.report.history.trends_page import write_trends

        typer.echo(f"{write_trends(found, html, problems=store.problems, plotlyjs=plotlyjs)}")
    if export is None and html is None:
        out = console()
        for name in dict.fromkeys(series.metric for series in found):
            out.print(drawn([series for series in found if series.metric == name]))
        if not found:
            typer.echo(f"no run has measured {metric}")
