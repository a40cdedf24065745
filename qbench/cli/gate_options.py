"""Options of `qbench gate` in groups: as typer declares them, and as dataclasses with their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from qbench.cli.gate_checks import check_together
from qbench.fields import Rule

BASELINE, STORED, SIDE_BY_SIDE, OUTPUT = (
    "The baseline, one of three",
    "With --baseline",
    "With --against or --baseline-python",
    "Output",
)
"""Headings of the groups in the help."""

AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="REF",
        help="A commit, branch or tag of qbench, as the baseline.",
        rich_help_panel=BASELINE,
    ),
]
BaselinePythonOption = Annotated[
    str | None,
    typer.Option(
        "--baseline-python",
        metavar="PATH",
        help="The python of the baseline's environment.",
        rich_help_panel=BASELINE,
    ),
]
BaselineOption = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        metavar="RESULTS",
        help="A results folder with an accepted baseline, a baseline's file, or one run's folder.",
        rich_help_panel=BASELINE,
    ),
]
CandidatePythonOption = Annotated[
    str | None,
    typer.Option(
        "--candidate-python",
        metavar="PATH",
        help="With --baseline-python: the candidate's python; default: this one.",
        rich_help_panel=SIDE_BY_SIDE,
    ),
]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--results",
        metavar="RUN",
        help="Compare this finished run; measure nothing.",
        rich_help_panel=STORED,
    ),
]
StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="DIR",
        help="Where the run is made; default: results.",
        rich_help_panel=STORED,
    ),
]
GateTimedOption = Annotated[
    bool,
    typer.Option("--gate-timed", help="Gate timed numbers of another job too.", rich_help_panel=STORED),
]
AcceptOption = Annotated[
    list[str],
    typer.Option(
        "--accept-environment",
        metavar="KEY,…",
        help="Facts of the two environments that may differ. Repeatable.",
    ),
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        "--budget",
        metavar="SECONDS",
        min=0.1,
        help="Most timing; default: gate.budget_s.",
        rich_help_panel=SIDE_BY_SIDE,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help="Of the coins that say which side goes first; default: the suite's.",
        rich_help_panel=SIDE_BY_SIDE,
    ),
]
KeepOption = Annotated[
    Path | None,
    typer.Option(
        "--keep",
        metavar="DIR",
        help="Keep the records of both sides, with every paired round, as two runs.",
        rich_help_panel=SIDE_BY_SIDE,
    ),
]
JunitOption = Annotated[
    Path | None,
    typer.Option(
        "--junit", metavar="FILE", help="Write JUnit XML, a testcase a number.", rich_help_panel=OUTPUT
    ),
]
JsonFileOption = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write everything as JSON.", rich_help_panel=OUTPUT),
]
MarkdownOption = Annotated[
    Path | None,
    typer.Option("--markdown", metavar="FILE", help="Write Markdown, for a comment.", rich_help_panel=OUTPUT),
]
AllOption = Annotated[
    bool, typer.Option("--all", help="List every number, also what is the same.", rich_help_panel=OUTPUT)
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", help="Say nothing while it runs.", rich_help_panel=OUTPUT)
]


@dataclass(frozen=True)
class BaselineOptions:
    """Baseline and candidate; exactly one of the first three is named."""

    against: str | None
    baseline_python: str | None
    stored: Path | None
    candidate_python: str | None


@dataclass(frozen=True)
class StoredOptions:
    """Options that go with a stored baseline."""

    run: Path | None
    store: Path | None
    gate_timed: bool


@dataclass(frozen=True)
class TimingOptions:
    """Options that go with two versions side by side."""

    budget_s: float | None
    seed: int | None
    keep: Path | None


@dataclass(frozen=True)
class GateOptions:
    """All options but those of the output."""

    baseline: BaselineOptions
    stored: StoredOptions
    timing: TimingOptions
    accept: Sequence[str]
    """Facts of the environment that may differ."""
    rules: Sequence[Rule]
    """Filters; a cell has to match one of them."""
    heard: Callable[[str], None]
    """Gets each line of progress."""

    def check(self) -> None:
        """Raises GateError where options do not go together."""
        baseline, stored, timing = self.baseline, self.stored, self.timing
        check_together(
            {
                "--against": baseline.against,
                "--baseline-python": baseline.baseline_python,
                "--baseline": baseline.stored,
            },
            {
                "--candidate-python": baseline.candidate_python,
                "--results": stored.run,
                "--store": stored.store,
                "--gate-timed": stored.gate_timed or None,
                "--budget": timing.budget_s,
                "--seed": timing.seed,
                "--keep": timing.keep,
            },
        )


def words(texts: Sequence[str]) -> list[str]:
    """The words of options that may be repeated and may list several, separated by commas."""
    return [word for text in texts for part in text.split(",") if (word := part.strip())]
