"""Options of `qbench gate`: as typer declares them, their values, and the checks of them before any work."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer.models import OptionInfo

from qbench.errors import GateError, ResultsError
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


BASELINES = "--against REF, --baseline-python PATH, or --baseline RESULTS"
ONLY_STORED = {
    "--results": "what is timed side by side is measured now",
    "--store": "side by side no run is made; --keep DIR keeps the records of both sides",
    "--gate-timed": "side by side what is timed is always gated",
}
"""Options without a meaning where two versions are timed side by side, with the reason."""
ONLY_TIMED = {
    "--budget": "a suite that is run once takes the time that it takes",
    "--seed": "the seed of what is measured stands in the suite",
    "--keep": "the run that is made lies where --store says",
}
"""Options without a meaning against a stored baseline, with the reason."""


def check_together(baselines: Mapping[str, object], options: Mapping[str, object]) -> None:
    """Raises GateError where the options name no baseline or several, or where one would be ignored.

    `options` are the others, None where they were not given.
    """
    named = [name for name, value in baselines.items() if value is not None]
    if len(named) != 1:
        said = f"{' and '.join(named)} name several baselines; keep one" if named else "no baseline is named"
        raise GateError(f"{said}: {BASELINES}")
    given = [name for name, value in options.items() if value is not None]
    stored = named == ["--baseline"]
    for name in given:
        if name == "--candidate-python" and named != ["--baseline-python"]:
            raise GateError(f"{name} goes with --baseline-python; with {named[0]} this version is it")
        if name in ONLY_STORED and not stored:
            raise GateError(f"{name} goes with --baseline, and not with {named[0]}: {ONLY_STORED[name]}")
        if name in ONLY_TIMED and stored:
            said = f"{name} goes with --against or --baseline-python, and not with --baseline"
            raise GateError(f"{said}: {ONLY_TIMED[name]}")
    if {"--results", "--store"} <= set(given):
        raise GateError("--store says where a run is made, and with --results none is made; leave one out")


def check_places(files: Mapping[str, Path | None], keep: Path | None) -> None:
    """Raises ResultsError where a place cannot be written to, as far as can be told before.

    Two options may not name the same place, however it is spelled: the later would replace the earlier.
    """
    places = {**files, "--keep": keep}
    _check_distinct({name: place for name, place in places.items() if place is not None})
    for name, place in places.items():
        if place is not None:
            try:
                (_check_folder if place is keep else _check_file)(name, place)
            except OSError as error:  # a folder on the way that may not be entered
                raise ResultsError(
                    f"{name} {place}: {error.strerror or error}; name another place"
                ) from error


def _check_distinct(places: Mapping[str, Path]) -> None:
    seen: dict[str, str] = {}
    for name, place in places.items():
        first = seen.setdefault(os.path.realpath(place), name)
        if first != name:
            raise ResultsError(f"{first} and {name} both name {place}; give each a place of its own")


def _check_file(name: str, file: Path) -> None:
    if file.is_dir():
        raise ResultsError(f"{name} {file} is a folder; name a file")
    if file.exists() and not file.is_file():  # a device or a pipe, which is written into where it is
        if not os.access(file, os.W_OK):
            raise ResultsError(f"{name} {file}: this user may not write into it; name another place")
        return
    file = Path(os.path.realpath(file)) if file.is_symlink() else file
    if not file.parent.is_dir():
        raise ResultsError(f"{name} {file}: there is no folder {file.parent}; make it, or name another file")
    _check_folder(name, file.parent)


def _check_folder(name: str, folder: Path) -> None:
    """Checks a folder, or the nearest one above it where it does not exist yet."""
    there = next((one for one in (folder, *folder.absolute().parents) if os.path.lexists(one)), Path("/"))
    if not there.is_dir():
        raise ResultsError(f"{name} {folder}: {there} is no folder; name another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ResultsError(f"{name} {folder}: this user may not write in {there}; name another place")
