"""`qbench export`: results as a table for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qbench.cli.options import AllRunsOption, ResultsArgument


def export(
    results: ResultsArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .parquet, .csv or .json file.")],
    all_runs: AllRunsOption = False,
) -> None:
    """Write one row per cell as Parquet (with units), CSV or JSON."""
    from qbench.results.export import export as write
    from qbench.results.frame import load

    frame = load(results, runs="all" if all_runs else "newest")
    write(frame, output)
    typer.echo(f"{output}: {len(frame)} cells")
