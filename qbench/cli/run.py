"""`qbench run`: measure a suite."""

from __future__ import annotations

import json as json_
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qbench.cli.options import FilterOption, ResultsOption, SuiteArgument
from qbench.report.text.sanitize import plain, plain_name

if TYPE_CHECKING:
    from qbench.run.verify import Verified


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


def say(verified: Sequence[Verified], file: Path, *, quiet: bool, json: bool) -> None:
    """Prints lines for a reader, one JSON object for a program, nothing where only the path was asked for."""
    if json:
        cells = [one.to_dict() for one in verified]
        print(json_.dumps({"event": "verified", "file": str(file), "cells": cells}), flush=True)
    elif not quiet:
        print("\n".join(_lines(verified, file)), flush=True)


def exit_code(verified: Sequence[Verified]) -> int:
    """0 where numbers were compared and all were equal; 1 otherwise: nothing compared is not verified."""
    return int(not all(one.equal for one in verified) or not any(one.metrics for one in verified))


def _lines(verified: Sequence[Verified], file: Path) -> list[str]:
    numbers = sum(len(one.metrics) for one in verified)
    if not numbers:
        return ["verified: nothing; no finished cell has a deterministic number"]
    same = sum(one.equal for one in verified)
    lines = [f"verified: {same} of {len(verified)} cells equal bit for bit ({numbers} numbers); {file}"]
    for one in verified:
        cell = one.first.cell
        name = f"  {plain_name(cell.model.name)} {plain_name(cell.label)} {cell.dtype} {cell.device}"
        if one.again.status != "ok":
            lines.append(f"{name}: {one.again.status} when repeated: {plain(one.again.reason)}")
        elif not one.metrics:
            lines.append(f"{name}: nothing was compared; it has no deterministic number")
        for metric in one.different:
            found = one.metrics[metric]
            lines.append(f"{name}: {metric}: {_text(found.first)} first, {_text(found.again)} again")
    return lines


def _text(value: float | list[float] | None) -> str:
    return f"{len(value)} values" if isinstance(value, list) else repr(value)
