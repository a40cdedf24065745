"""`qbench gate`: compares this version with a baseline and gives a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qbench.cli import gate_options as options
from qbench.cli.options import FilterOption, SuiteArgument

if TYPE_CHECKING:
    from qbench.gate.verdicts.finding import GateResult
    from qbench.suite.spec import Suite

INTERRUPTED = 130


def gate(
    suite: SuiteArgument,
    against: options.AgainstOption = None,
    baseline_python: options.BaselinePythonOption = None,
    baseline: options.BaselineOption = None,
    candidate_python: options.CandidatePythonOption = None,
    results: options.RunOption = None,
    store: options.StoreOption = None,
    gate_timed: options.GateTimedOption = False,
    accept_environment: options.AcceptOption = [],  # noqa: B006 - typer reads the default and never changes it
    filter_: FilterOption = [],  # noqa: B006
    budget: options.BudgetOption = None,
    seed: options.SeedOption = None,
    keep: options.KeepOption = None,
    junit: options.JunitOption = None,
    json: options.JsonFileOption = None,
    markdown: options.MarkdownOption = None,
    every: options.AllOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Compare this version of qbench with another one, in one job on this machine.

    --against REF lays the commit out beside the installed packages; --baseline-python names an environment
    that has the other version. Both run cell by cell and round by round, in random order, until every
    comparison is decided or the budget is spent. --baseline RESULTS runs the suite once and compares what is
    deterministic with what was accepted; what is timed is shown.

    Exit code: 0 fine, 1 something is worse, failed or missing, 2 the command, the suite, the environment or
    a defect of qbench, 3 something is undecided or nothing was measured, 130 interrupted.
    """
    from qbench.cli.gate_options import check_places
    from qbench.cli.gate_output import Outputs
    from qbench.run.runner import terminable
    from qbench.suite.load import load_suite
    from qbench.suite.rules import parse_filter

    outputs = Outputs(junit, json, markdown, every)
    try:
        given = options.GateOptions(
            against, baseline_python, baseline, candidate_python, results, store, gate_timed,
            budget, seed, keep,
            accept=options.words(accept_environment),
            rules=[parse_filter(text) for text in filter_],
            heard=(lambda line: None) if quiet else (lambda line: typer.echo(line, err=True)),
        )  # fmt: skip
        given.check()
        loaded = load_suite(suite)
        with terminable():
            check_places({"--junit": junit, "--json": json, "--markdown": markdown}, keep)
            result = _compared(loaded, given)
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing was judged", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:  # a crash must never look like a regression: the code of that is Python's own
        raise typer.Exit(outputs.refuse(suite, error)) from None
    raise typer.Exit(outputs.publish(result))


def _compared(suite: Suite, given: options.GateOptions) -> GateResult:
    """Runs the gate for the baseline that the options name."""
    from qbench.gate import command
    from qbench.gate.ab.compare import Order

    if given.baseline is not None:
        store = given.store or Path("results")
        return command.with_baseline(
            suite,
            command.StoredGate(
                given.baseline, given.run, store, given.rules, given.gate_timed, given.accept, given.heard
            ),
        )
    seed = suite.seed if given.seed is None else given.seed
    order = Order(given.rules, given.budget_s, seed, keep=given.keep, accept=given.accept, heard=given.heard)
    if given.against is not None:
        return command.against_commit(suite, given.against, order)
    assert given.baseline_python is not None, "GateOptions.check allows no other case"
    return command.between(suite, given.baseline_python, given.candidate_python, order)
