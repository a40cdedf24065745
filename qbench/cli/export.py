"""`qbench export`: results as a table for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qbench.cli.options import AllRunsOption, ResultsArgument


def export(
    results: ResultsArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .parquet, .csv or .json file.")],
    table: Annotated[
        Literal["cells", "samples", "layers"],
        typer.Option(help="A row per cell, per raw sample, or per cell and quantized layer."),
    ] = "cells",
    all_runs: AllRunsOption = False,
) -> None:
    """Write results as Parquet (with units), CSV or JSON; docs/columns.md says what the columns are."""
    import qbench
    from qbench.results.frames.export import export as write

    read = {"cells": qbench.load, "samples": qbench.samples, "layers": qbench.layers}[table]
    frame = read(results, runs="all" if all_runs else "newest")
    write(frame, output)
    typer.echo(f"{output}: {len(frame)} {table if table == 'cells' else f'rows of {table}'}")
