"""Arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SuiteArgument = Annotated[
    str, typer.Argument(metavar="SUITE", help="A suite file, or the name of a packaged one: quickstart.")
]
ResultsArgument = Annotated[
    Path, typer.Argument(metavar="RESULTS", help="A results folder, one suite's folder in it, or one run's.")
]
ResultsOption = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where results lie.")]
FilterOption = Annotated[
    list[str],
    typer.Option(
        "--filter",
        metavar="KEY=VALUE,…",
        help="Only cells that match, e.g. method=absmax,num_bits=4. Repeatable.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AllRunsOption = Annotated[
    bool, typer.Option("--all-runs", help="Every run, not only the newest of each suite.")
]
