"""`qbench list`: methods, models, probes, kernels."""

from __future__ import annotations

import json as json_
from typing import Annotated, Literal

import typer

from qbench.cli.options import JsonOption


def list_(
    what: Annotated[
        Literal["methods", "models", "probes", "kernels", "suites"], typer.Argument(help="What to list.")
    ],
    json: JsonOption = False,
) -> None:
    """List methods and their parameters, built-in models, probes, kernels here, packaged suites."""
    from rich.console import Console
    from rich.table import Table

    from qbench.run.listing import rows

    found = rows(what)
    if json:
        typer.echo(json_.dumps(found, indent=2))
        return
    table = Table(*(found[0] if found else ["nothing"]), title=what)
    for row in found:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)
