"""What `qbench gate` writes and prints, and which of its options go together."""

from __future__ import annotations

import json as json_
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qbench.errors import GateError
from qbench.report.gate.github import add_summary, annotation_lines, on_github
from qbench.report.gate.junit import junit
from qbench.report.gate.markdown import markdown
from qbench.report.gate.text import text
from qbench.results.atomic import write_bytes_atomic
from qbench.results.gate.finding import GateResult


def asked_for(baselines: Mapping[str, object], candidate_python: str | None, results: Path | None) -> None:
    """GateError where the options name no baseline or more than one, or do not go together."""
    named = [name for name, value in baselines.items() if value is not None]
    if len(named) != 1:
        said = f"{' and '.join(named)} name several baselines; keep one" if named else "no baseline is named"
        raise GateError(f"{said}: --against REF, --baseline-python PATH, or --baseline RESULTS")
    if candidate_python and named != ["--baseline-python"]:
        raise GateError(f"--candidate-python goes with --baseline-python; with {named[0]} this version is it")
    if results is not None and named != ["--baseline"]:
        raise GateError("--results goes with --baseline: what is timed side by side is measured now")


@dataclass(frozen=True)
class Outputs:
    """The files that were asked for."""

    junit: Path | None = None
    json: Path | None = None
    markdown: Path | None = None
    every: bool = False

    def write(self, result: GateResult) -> None:
        """All of them; on GitHub the job's summary too. ResultsError where one cannot be written."""
        if self.junit is not None:
            write_bytes_atomic(self.junit, junit(result))
        if self.json is not None:
            whole = json_.dumps(result.to_dict(), indent=1, allow_nan=False)  # in ASCII: half surrogates too
            write_bytes_atomic(self.json, whole.encode() + b"\n")
        if self.markdown is not None:
            write_bytes_atomic(self.markdown, markdown(result).encode() + b"\n")
        if on_github():
            add_summary(result)
            for line in annotation_lines(result):
                print(line)


def say(result: GateResult, every: bool) -> None:
    """To the terminal, as text that no terminal acts on."""
    print(text(result, every), flush=True)
