"""`qbench report`: the leaderboard as one HTML file, or as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qbench.cli.options import AllRunsOption, ResultsArgument


def report(
    results: ResultsArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The file to write; left out: leaderboard.html, or Markdown to standard output.",
        ),
    ] = None,
    format_: Annotated[
        Literal["html", "markdown"],
        typer.Option(
            "--format", help="markdown: for a comment on a pull request, at most 65,536 characters."
        ),
    ] = "html",
    all_runs: AllRunsOption = False,
    plotlyjs: Annotated[
        Literal["inline", "cdn", "directory"],
        typer.Option(
            help="inline: one file that needs no network; cdn, directory: a small file beside plotly.js."
        ),
    ] = "inline",
) -> None:
    """Write a leaderboard that opens in any browser, with no network; or Markdown."""
    from qbench.cli.console import put

    runs: Literal["newest", "all"] = "all" if all_runs else "newest"
    if format_ == "markdown":
        from qbench.report.text.markdown import read_markdown

        put(read_markdown(results, runs), output)
        return
    from qbench.report.leaderboard.leaderboard import write_report

    target = output or Path("leaderboard.html")
    write_report(results, target, runs=runs, plotlyjs=plotlyjs)
    typer.echo(f"{target}")
