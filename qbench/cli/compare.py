"""`qbench compare`: compares two runs cell by cell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qbench.cli.options import ResultsArgument


def compare(
    a: ResultsArgument,
    b: ResultsArgument,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON to this file.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page that opens in any browser.")
    ] = None,
    format_: Annotated[
        Literal["table", "markdown"],
        typer.Option("--format", help="Of what is printed; markdown: for a comment on a pull request."),
    ] = "table",
) -> None:
    """Compare the newest run of each suite in A with that in B, cell by cell.

    Quality, bytes and all else that is deterministic is compared bit for bit; what is timed is shown as a
    ratio B/A, with the range that the single rounds allow. Exit code: 0 where both could be read, whatever
    differs or failed in them, 2 otherwise; `qbench gate` is what fails on a regression.
    """
    import json as json_

    from qbench.cli.console import console, put
    from qbench.report.compare import compare_page
    from qbench.report.compare.compare_terminal import drawn
    from qbench.results.compare.compare import compare_sources, read_source
    from qbench.results.store.atomic import write_bytes_atomic

    sides = read_source(a), read_source(b)
    found = compare_sources(*sides)
    if format_ == "markdown":
        put(compare_page.markdown(found, *sides), None)
    else:
        console().print(drawn(found))
    if html is not None:
        compare_page.write_comparison(found, *sides, html)
    if json is not None:
        write_bytes_atomic(json, json_.dumps(found.to_dict(), indent=1, ensure_ascii=False).encode() + b"\n")
