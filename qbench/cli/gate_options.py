"""Options of `qbench gate` in groups: as typer declares them, and as dataclasses with their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer.models import OptionInfo

from qbench.cli.gate_checks import check_together
from qbench.fields import Rule

BASELINE, STORED = "The baseline, one of three", "With --baseline"
SIDE_BY_SIDE, OUTPUT = "With --against or --baseline-python", "Output"
"""Headings of the groups in the help."""


def _option(group: str, name: str, metavar: str | None, text: str) -> OptionInfo:
    found: OptionInfo = typer.Option(name, metavar=metavar, help=text, rich_help_panel=group)
    return found


AgainstOption = Annotated[
    str | None, _option(BASELINE, "--against", "REF", "A commit, branch or tag of qbench, as the baseline.")
]
BaselinePythonOption = Annotated[
    str | None, _option(BASELINE, "--baseline-python", "PATH", "The python of the baseline's environment.")
]
BaselineOption = Annotated[
    Path | None,
    _option(
        BASELINE, "--baseline", "RESULTS",
        "A results folder with an accepted baseline, a baseline's file, or one run's folder.",
    ),
]  # fmt: skip
CandidatePythonOption = Annotated[
    str | None,
    _option(
        SIDE_BY_SIDE, "--candidate-python", "PATH",
        "With --baseline-python: the candidate's python; default: this one.",
    ),
]  # fmt: skip
RunOption = Annotated[
    Path | None, _option(STORED, "--results", "RUN", "Compare this finished run; measure nothing.")
]
StoreOption = Annotated[
    Path | None, _option(STORED, "--store", "DIR", "Where the run is made; default: results.")
]
GateTimedOption = Annotated[
    bool, _option(STORED, "--gate-timed", None, "Gate timed numbers of another job too.")
]
AcceptOption = Annotated[
    list[str],
    typer.Option(
        "--accept-environment", metavar="KEY,…",
        help="Facts of the two environments that may differ. Repeatable.",
    ),
]  # fmt: skip
BudgetOption = Annotated[
    float | None,
    typer.Option(
        "--budget", metavar="SECONDS", min=0.1, help="Most timing; default: gate.budget_s.",
        rich_help_panel=SIDE_BY_SIDE,
    ),
]  # fmt: skip
SeedOption = Annotated[
    int | None,
    _option(
        SIDE_BY_SIDE, "--seed", None, "Of the coins that say which side goes first; default: the suite's."
    ),
]
KeepOption = Annotated[
    Path | None,
    _option(
        SIDE_BY_SIDE, "--keep", "DIR", "Keep the records of both sides, with every paired round, as two runs."
    ),
]
JunitOption = Annotated[
    Path | None, _option(OUTPUT, "--junit", "FILE", "Write JUnit XML, a testcase a number.")
]
JsonFileOption = Annotated[Path | None, _option(OUTPUT, "--json", "FILE", "Write everything as JSON.")]
MarkdownOption = Annotated[
    Path | None, _option(OUTPUT, "--markdown", "FILE", "Write Markdown, for a comment.")
]
AllOption = Annotated[bool, _option(OUTPUT, "--all", None, "List every number, also what is the same.")]
QuietOption = Annotated[bool, _option(OUTPUT, "--quiet", None, "Say nothing while it runs.")]


@dataclass(frozen=True)
class GateOptions:
    """All options but those of the output."""

    against: str | None
    baseline_python: str | None
    baseline: Path | None
    """Exactly one of the first three is named."""
    candidate_python: str | None
    run: Path | None
    store: Path | None
    gate_timed: bool
    """The last three go with a stored baseline."""
    budget_s: float | None
    seed: int | None
    keep: Path | None
    """The last three go with two versions side by side."""
    accept: Sequence[str]
    """Facts of the environment that may differ."""
    rules: Sequence[Rule]
    """Filters; a cell has to match one of them."""
    heard: Callable[[str], None]
    """Gets each line of progress."""

    def check(self) -> None:
        """Raises GateError where options do not go together."""
        check_together(
            {"--against": self.against, "--baseline-python": self.baseline_python,
             "--baseline": self.baseline},
            {"--candidate-python": self.candidate_python, "--results": self.run, "--store": self.store,
             "--gate-timed": self.gate_timed or None, "--budget": self.budget_s, "--seed": self.seed,
             "--keep": self.keep},
        )  # fmt: skip


def words(texts: Sequence[str]) -> list[str]:
    """The words of options that may be repeated and may list several, separated by commas."""
    return [word for text in texts for part in text.split(",") if (word := part.strip())]
