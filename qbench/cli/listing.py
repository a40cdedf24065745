"""`qbench list`: methods, models, probes, kernels and the choice among them, suites."""

from __future__ import annotations

import json as json_
from typing import Annotated, Literal

import typer

from qbench.cli.options import JsonOption
from qbench.json_object import JsonObject

_COLUMNS = {
    "kernels": ("name", "devices", "num_bits", "activations", "here", "summary"),
    "choices": ("format", "device", "needs", "rows", "kernel", "why"),
}
"""Columns that a terminal has room for; JSON has all."""


def list_(
    what: Annotated[
        Literal["methods", "models", "probes", "kernels", "suites"], typer.Argument(help="What to list.")
    ],
    choices: Annotated[
        bool, typer.Option("--choices", help="Of kernels: the fastest by format, machine and rows, and why.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List methods and their parameters, built-in models, probes, kernels here, packaged suites."""
    from qbench.cli.console import console, table
    from qbench.run.listing import kernel_choices, rows

    if choices and what != "kernels":
        raise typer.BadParameter(f"--choices goes with kernels, not with {what}")
    found = kernel_choices() if choices else rows(what)
    if json:
        typer.echo(json_.dumps(found, indent=2))
        return
    if what == "kernels":
        found = [(_choice if choices else _kernel)(row) for row in found]
    columns = _COLUMNS.get("choices" if choices else what) or tuple(found[0]) if found else ("nothing",)
    made = table(*columns)
    for row in found:
        made.add_row(*(_text(row[column]) for column in columns))
    console().print(made)


def _kernel(row: JsonObject) -> JsonObject:
    return {**row, "here": row["reason"] or "yes"}


def _choice(row: JsonObject) -> JsonObject:
    last = "" if row["max_rows"] is None else row["max_rows"]
    return {**row, "device": row["devices"], "rows": f"{row['min_rows']}–{last}"}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        numbers = value and all(isinstance(one, int) for one in value)
        return f"{min(value)}–{max(value)}" if numbers and len(value) > 2 else ", ".join(map(str, value))
    return "" if value is None else str(value)
