"""`qbench check`: the conformance suite of one method."""

from __future__ import annotations

from typing import Annotated

import typer


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
