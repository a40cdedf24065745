"""`qbench schema`: the JSON Schema of a suite, for editors."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of a suite file."""
    from qbench.suite.spec import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
