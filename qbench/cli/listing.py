"""`qbench list`: methods, models, probes, kernels."""

from __future__ import annotations

import json as json_
from typing import Annotated, Literal

import typer

from qbench.cli.options import JsonOption

_COLUMNS = {"kernels": ("name", "devices", "num_bits", "activations", "here", "summary")}
"""Columns that fit a terminal; JSON has all."""


def list_(
    what: Annotated[
        Literal["methods", "models", "probes", "kernels", "suites"], typer.Argument(help="What to list.")
    ],
    json: JsonOption = False,
) -> None:
    """List methods and their parameters, built-in models, probes, kernels here, packaged suites."""
    from qbench.cli.console import console, table
    from qbench.run.listing import rows

    found = rows(what)
    if json:
        typer.echo(json_.dumps(found, indent=2))
        return
    for row in found if what == "kernels" else []:
        row["here"] = row["reason"] or "yes"
    columns = _COLUMNS.get(what) or tuple(found[0]) if found else ("nothing",)
    made = table(*columns)
    for row in found:
        made.add_row(*(_text(row[column]) for column in columns))
    console().print(made)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        numbers = value and all(isinstance(one, int) for one in value)
        return f"{min(value)}–{max(value)}" if numbers and len(value) > 2 else ", ".join(map(str, value))
    return "" if value is None else str(value)
