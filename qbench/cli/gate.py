"""`qbench gate`: is this version worse than that one?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qbench.cli.options import FilterOption, SuiteArgument

INTERRUPTED = 130


def gate(
    suite: SuiteArgument,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="REF", help="A commit, branch or tag of qbench, as the baseline."),
    ] = None,
    baseline_python: Annotated[
        str | None,
        typer.Option("--baseline-python", metavar="PATH", help="The python of the baseline's environment."),
    ] = None,
    candidate_python: Annotated[
        str | None,
        typer.Option(
            "--candidate-python", metavar="PATH", help="The python of the candidate's; default: this one."
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="RESULTS",
            help="A results folder with an accepted baseline, a baseline's file, or one run's folder.",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results", metavar="RUN", help="With --baseline: judge this finished run; measure nothing."
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            metavar="DIR",
            help="With --baseline: where the run is made; default: results.",
        ),
    ] = None,
    gate_timed: Annotated[
        bool, typer.Option("--gate-timed", help="With --baseline: gate timed numbers of another job too.")
    ] = False,
    accept_environment: Annotated[
        list[str],
        typer.Option(
            "--accept-environment",
            metavar="KEY,…",
            help="Facts of the two environments that may differ. Repeatable.",
        ),
    ] = [],  # noqa: B006
    filter_: FilterOption = [],  # noqa: B006 - typer reads the default and never changes it
    budget: Annotated[
        float | None,
        typer.Option("--budget", metavar="SECONDS", min=0.1, help="Most timing; default: gate.budget_s."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Of the coins that say which side goes first; default: the suite's."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML, a testcase a number.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown, for a comment.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", metavar="DIR", help="Keep the records of both sides, with every lap, as two runs."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List every number, also what is the same.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing while it runs.")] = False,
) -> None:
    """Compare this version of qbench with another one, in one job on this machine.

    --against REF lays the commit out beside the installed packages; --baseline-python names an environment
    that has the other version. Both run cell by cell and round by round, in random order, until every
    comparison is decided or the budget is spent. --baseline RESULTS runs the suite once and compares what is
    deterministic with what was accepted; what is timed is shown.

    Exit code: 0 fine, 1 something is worse, failed or missing, 2 the command, the suite, the environment or
    a defect of qbench, 3 something is undecided or nothing was measured, 130 interrupted.
    """
    from qbench.cli.gate_options import check_places, check_together
    from qbench.cli.gated import Outputs
    from qbench.gate import command as gates
    from qbench.gate.ab.compare import Order
    from qbench.run.runner import terminable
    from qbench.suite.load import load_suite
    from qbench.suite.rules import parse_filter

    outputs = Outputs(junit, json, markdown, every)
    heard = (lambda line: None) if quiet else (lambda line: typer.echo(line, err=True))
    try:
        check_together(
            {"--against": against, "--baseline-python": baseline_python, "--baseline": baseline},
            {
                "--candidate-python": candidate_python,
                "--results": results,
                "--store": store,
                "--gate-timed": gate_timed or None,
                "--budget": budget,
                "--seed": seed,
                "--keep": keep,
            },
        )
        store = store or Path("results")
        loaded = load_suite(suite)
        rules = [parse_filter(text) for text in filter_]
        keys = [key for text in accept_environment for word in text.split(",") if (key := word.strip())]
        order = Order(
            rules, budget, loaded.seed if seed is None else seed, keep=keep, accept=keys, heard=heard
        )
        with terminable():
            check_places({"--junit": junit, "--json": json, "--markdown": markdown}, keep)
            if baseline is not None:
                result = gates.with_baseline(
                    loaded, gates.Stored(baseline, results, store, rules, gate_timed, keys, heard)
                )
            elif against is not None:
                result = gates.against_commit(loaded, against, order)
            else:
                assert baseline_python is not None, "check_together has seen to it"
                result = gates.between(loaded, baseline_python, candidate_python, order)
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing was judged", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:  # a crash must never look like a regression: the code of that is Python's own
        raise typer.Exit(outputs.refuse(suite, error)) from None
    raise typer.Exit(outputs.publish(result))
