"""`qbench run`: measure a suite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qbench.cli.options import FilterOption, ResultsOption, SuiteArgument


def run(
    suite: SuiteArgument,
    results: ResultsOption = Path("results"),
    filter_: FilterOption = [],  # noqa: B006 - typer reads the default and never changes it
    jobs: Annotated[
        int,
        typer.Option("--jobs", min=1, help="Cells side by side; timed phases still have the machine alone."),
    ] = 1,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start a new run instead of resuming the newest.")
    ] = False,
    verify: Annotated[
        int,
        typer.Option(
            "--verify", metavar="N", min=0, help="Then repeat N random finished cells and say what differs."
        ),
    ] = 0,
    executor: Annotated[
        str, typer.Option("--executor", metavar="NAME", help="Where workers run; `local` is this machine.")
    ] = "local",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the leaderboard's path.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print progress as JSON lines.")] = False,
) -> None:
    """Run a suite: every cell of its matrix that has no result yet.

    A run that was stopped is resumed where it stood. Exit code: 0 all cells ok or skipped by design, 1 some
    failed or a repeated cell gave another number, 2 the suite or the command is wrong, 130 interrupted.
    """
    from qbench.cli.progress import Display, display
    from qbench.cli.verify_output import exit_code, say
    from qbench.report.leaderboard.leaderboard import write_report
    from qbench.run.runner import run_suite
    from qbench.run.verify import FILE
    from qbench.run.verify import verify as check_again
    from qbench.suite.load import load_suite
    from qbench.suite.rules import parse_filter

    listener = display(quiet=quiet, json=json)
    rules = [parse_filter(text) for text in filter_]
    with listener:
        loaded = load_suite(suite)
        outcome = run_suite(loaded, results, listener, rules=rules, jobs=jobs, fresh=fresh, executor=executor)
    leaderboard = outcome.run.folder / "leaderboard.html"
    write_report(outcome.run.folder, leaderboard)
    listener.end(outcome, leaderboard)
    code = outcome.exit_code
    if verify and not outcome.interrupted:
        found = check_again(outcome.run, verify, loaded.seed, Display(), executor)
        say(found, outcome.run.folder / FILE, quiet=quiet, json=json)
        code = code or exit_code(found)
    raise typer.Exit(code)
