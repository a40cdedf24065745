"""`qbench doctor`: examination of this machine."""

from __future__ import annotations

import json as json_

import typer

from qbench.cli.options import JsonOption


def doctor(json: JsonOption = False) -> None:
    """Show CPU, GPUs, drivers, energy counters, measured ceilings, versions and kernels of this machine."""
    from rich.table import Table
    from rich.text import Text

    from qbench.cli.console import console
    from qbench.run.doctor import examine

    found = examine()
    if json:
        typer.echo(json_.dumps(found.to_dict(), indent=2))
        return
    table = Table.grid(padding=(0, 2))
    for name, value in found.lines():
        table.add_row(Text(name, "bold"), value)
    console().print(table)
