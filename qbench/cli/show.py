"""`qbench show`: results as a table in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from qbench.cli.options import AllRunsOption, FilterOption, ResultsArgument


def show(
    results: ResultsArgument,
    sort: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Sort by a column of qbench.load(); -COLUMN: largest first."),
    ] = None,
    filter_: FilterOption = [],  # noqa: B006 - typer never changes the default
    columns: Annotated[
        str, typer.Option(metavar="A,B,…", help="Columns of qbench.load() to show; see docs/columns.md.")
    ] = "",
    all_runs: AllRunsOption = False,
) -> None:
    """Print the newest run of each suite as a table, with the digits of the page.

    Keys of --filter are status, suite, run, model, method, label, dtype, device, runtime, repetition, cell_id
    and the parameters of methods. Exit code: 0 printed, 2 nothing to show.
    """
    from qbench.cli.console import console
    from qbench.report.text.terminal import Wanted, table
    from qbench.results.frames.frame import load
    from qbench.suite.rules import parse_filter

    names = [name.strip() for name in columns.split(",") if name.strip()]
    wanted = Wanted([parse_filter(text) for text in filter_], sort, names)
    frame = load(results, runs="all" if all_runs else "newest", strict=False)
    console().print(table(frame, wanted))
