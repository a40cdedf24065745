"""`qbench plan`: the cells of a suite, without measuring."""

from __future__ import annotations

import json as json_
from pathlib import Path

import typer

from qbench.cli.options import FilterOption, JsonOption, ResultsOption, SuiteArgument


def plan(
    suite: SuiteArgument,
    results: ResultsOption = Path("results"),
    filter_: FilterOption = [],  # noqa: B006
    json: JsonOption = False,
) -> None:
    """Show what `qbench run` would do: each cell, what is done already, what cannot run here and why."""
    from qbench.cli.console import console, table
    from qbench.run.planning.plan import Planner
    from qbench.run.provenance.environment import environment
    from qbench.run.runner import choose_run, done_cells
    from qbench.suite.load import load_suite
    from qbench.suite.rules import parse_filter

    loaded = load_suite(suite)
    run = choose_run(loaded, results, environment(), fresh=False)
    planned = Planner(loaded).plan([parse_filter(text) for text in filter_], done_cells(run))
    if json:
        rows = [
            {**entry.cell.to_dict(), "cell_id": entry.cell.id, "state": entry.state, "reason": entry.reason}
            for entry in planned
        ]
        typer.echo(json_.dumps(rows, indent=2))
        return
    made = table("cell", "model", "method", "dtype", "device", "state", "why", title=f"Suite {loaded.name}")
    for entry in planned:
        cell = entry.cell
        made.add_row(
            cell.id, cell.model.name, cell.label, cell.dtype, cell.place, entry.state, entry.reason or ""
        )
    out = console()
    out.print(made)
    counts = {state: sum(entry.state == state for entry in planned) for state in ("run", "done", "skip")}
    done = f", {counts['done']} done in {run.folder}" if counts["done"] else ""
    out.print(f"{counts['run']} to run{done}, {counts['skip']} cannot run here", soft_wrap=True)
