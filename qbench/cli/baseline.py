"""`qbench baseline`: accepts a run as the baseline of later ones, and shows a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qbench.cli.options import JsonOption, ResultsArgument, ResultsOption

baseline = typer.Typer(
    name="baseline",
    help="What the gate compares with: accept a run as baseline, or show one.",
    no_args_is_help=True,
)
NameOption = Annotated[
    str, typer.Option("--name", metavar="NAME", help="One of several baselines of a suite, such as h100.")
]


@baseline.command()
def accept(
    run: ResultsArgument,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why these numbers are right; stays in the file.")
    ],
    results: ResultsOption = Path("results"),
    name: NameOption = "baseline",
    allow_failed: Annotated[
        bool, typer.Option("--allow-failed", help="Although cells of the run failed or are not done.")
    ] = False,
    drop_cells: Annotated[
        bool, typer.Option("--drop-cells", help="Although the baseline has cells that the run has not.")
    ] = False,
) -> None:
    """Make the newest run of the suite under RUN its baseline: results/baselines/SUITE/NAME.json.

    Earlier acceptances stay in the file with their reasons. Exit code: 0 accepted, 2 refused.
    """
    from qbench.gate.baseline.baseline import accept as accept_run
    from qbench.gate.baseline.baseline import baseline_file, earlier_baseline
    from qbench.results.store.folders import only_run

    found = only_run(run)
    path = baseline_file(results, found.suite, name)
    earlier = earlier_baseline(path)
    made = accept_run(found, path, reason, allow_failed=allow_failed, drop_cells=drop_cells)
    ok = sum(cell.status == "ok" for cell in made.cells.values())
    print(f"accepted {found.suite}/{found.name}: {ok} of {len(made.cells)} cells ok; {path}")
    print(f"cells: {made.changes_from(earlier)}")


@baseline.command()
def show(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="Name of a suite, or a baseline's file.")],
    results: ResultsOption = Path("results"),
    name: NameOption = "baseline",
    json: JsonOption = False,
) -> None:
    """Show a suite's baseline: where it was measured, its cells, and why it was accepted each time."""
    import json as json_

    from qbench.gate.baseline.baseline import baseline_file, read_baseline

    path = Path(suite) if suite.endswith(".json") else baseline_file(results, suite, name)
    found = read_baseline(path)
    if json:
        print(json_.dumps(json_.loads(found.to_bytes()), indent=1, ensure_ascii=False))
        return
    from qbench.cli.console import console
    from qbench.gate.report.baseline_text import drawn

    console().print(drawn(found, str(path)))
