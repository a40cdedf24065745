"""Outputs for GitHub Actions: annotations on standard output, and the summary of the job."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from qbench.errors import ResultsError
from qbench.gate.report.gate_markdown import markdown
from qbench.gate.report.words import figures, ranked, whole
from qbench.gate.verdicts.finding import Finding, GateResult
from qbench.report.text.sanitize import plain

MOST = 10
"""GitHub shows no more annotations of one kind and step."""


def on_github(variables: Mapping[str, str] = os.environ) -> bool:
    """True inside a job of GitHub Actions."""
    return variables.get("GITHUB_ACTIONS") == "true"


def annotation_lines(result: GateResult) -> list[str]:
    """`::error …` for findings that turn the gate red, `::warning …` for undecided ones; ten each at most."""
    return [
        *_annotations("error", [one for one in ranked(result.findings) if one.red]),
        *_annotations(
            "warning", [one for one in ranked(result.findings) if one.gated and one.verdict == "undecided"]
        ),
        *_whole(result),
    ]


def add_summary(result: GateResult, variables: Mapping[str, str] = os.environ) -> None:
    """Appends to the file that GITHUB_STEP_SUMMARY names, if it names one."""
    if name := variables.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(name).open("a", encoding="utf-8") as file:
                file.write(markdown(result) + "\n")
        except OSError as error:
            raise ResultsError(f"GITHUB_STEP_SUMMARY {name}: {error.strerror or error}") from error


def _annotations(kind: str, findings: list[Finding]) -> Iterator[str]:
    shown = findings if len(findings) <= MOST else findings[: MOST - 1]
    for one in shown:
        said = ": ".join(part for part in (figures(one), plain(one.reason)) if part)
        yield _command(kind, f"{one.verdict}: {one.cell} {one.metric}", said)
    if len(shown) < len(findings):
        yield _command(kind, "qbench gate", f"and {len(findings) - len(shown)} more")


def _whole(result: GateResult) -> Iterator[str]:
    if why := result.refused or result.nothing:
        yield _command("error", "qbench gate", why)


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_escaped(plain(title), ':,')}::{_escaped(whole(message))}"


def _escaped(text: str, more: str = "") -> str:
    """Percent escapes of a workflow command: `%` first, then line ends, then the characters in `more`."""
    for one in ("%", "\r", "\n", *more):
        text = text.replace(one, f"%{ord(one):02X}")
    return text
