"""`qbench report`: the leaderboard as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qbench.cli.options import AllRunsOption, ResultsArgument


def report(
    results: ResultsArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file to write.")] = Path(
        "leaderboard.html"
    ),
    all_runs: AllRunsOption = False,
    plotlyjs: Annotated[
        Literal["inline", "cdn", "directory"],
        typer.Option(
            help="inline: one file that needs no network; cdn, directory: a small file beside plotly.js."
        ),
    ] = "inline",
) -> None:
    """Write a leaderboard that opens in any browser, with no network."""
    from qbench.report.leaderboard import write_report

    write_report(results, output, runs="all" if all_runs else "newest", plotlyjs=plotlyjs)
    typer.echo(f"{output}")
