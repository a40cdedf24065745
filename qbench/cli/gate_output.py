"""Outputs of `qbench gate`: text, files, and the exit code."""

from __future__ import annotations

import contextlib
import json as json_
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qbench.errors import QbenchError, ResultsError
from qbench.gate.report.gate_markdown import markdown
from qbench.gate.report.gate_text import text
from qbench.gate.report.github import add_summary, annotation_lines, on_github
from qbench.gate.report.junit import junit
from qbench.gate.verdicts.finding import USAGE, GateResult
from qbench.report.text.sanitize import plain
from qbench.results.store.atomic import write_bytes_atomic


@dataclass(frozen=True)
class Outputs:
    """The files that were asked for, and how much is printed."""

    junit: Path | None = None
    json: Path | None = None
    markdown: Path | None = None
    every: bool = False

    def publish(self, result: GateResult) -> int:
        """Prints the verdict, writes every file that can be written, and returns the exit code.

        The code is that of the verdict, or 2 where a file is not there: standard error says which.
        """
        problems = [_done(lambda: say(result, self.every)), *map(_done, self._deliveries(result))]
        if result.unkept is not None:
            complain(ResultsError(f"--keep: {result.unkept}"))
        return USAGE if any(problems) or result.unkept is not None else result.exit_code

    def refuse(self, suite: str, error: Exception) -> int:
        """Reports an error instead of a verdict, with the traceback of a defect; returns the exit code."""
        complain(error)
        why = str(error) if isinstance(error, QbenchError) else _defect(error)
        for deliver in self._deliveries(GateResult(suite=suite, refused=why)):
            _done(deliver)
        return USAGE

    def _deliveries(self, result: GateResult) -> Iterator[Callable[[], None]]:
        """A function for each file, and on GitHub for the job's summary and annotations.

        They are separate, so that one which fails does not stop the others.
        """
        if (file := self.junit) is not None:
            yield lambda: write_bytes_atomic(file, junit(result))
        if (whole := self.json) is not None:
            yield lambda: write_bytes_atomic(whole, _json(result))
        if (comment := self.markdown) is not None:
            yield lambda: write_bytes_atomic(comment, markdown(result).encode() + b"\n")
        if on_github():
            yield lambda: add_summary(result)
            yield lambda: _print("\n".join(annotation_lines(result)))


def say(result: GateResult, every: bool) -> None:
    """Prints the text of the result, sanitized for a terminal."""
    _print(text(result, every))


def complain(error: Exception) -> None:
    """Prints an error: one message where a user can fix it, a traceback before it for a defect."""
    lines = [f"qbench: {error}"]
    if not isinstance(error, QbenchError):
        lines = [*traceback.format_exception(error), f"qbench: {_defect(error)}"]
    with contextlib.suppress(OSError):  # without a reader the exit code still says it
        print("\n".join(line.rstrip("\n") for line in lines), file=sys.stderr, flush=True)


def _done(deliver: Callable[[], None]) -> bool:
    """Calls `deliver`; returns True, and prints the error, where it failed."""
    try:
        deliver()
    except Exception as error:
        complain(error)
        return True
    return False


def _print(lines: str) -> None:
    """Prints, and ignores a reader that left (`| head`): exit code and files still hold the findings."""
    try:
        if lines:
            encoding = sys.stdout.encoding or "utf-8"  # of a terminal that may know no arrow
            print(lines.encode(encoding, "replace").decode(encoding), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered goes nowhere


def _json(result: GateResult) -> bytes:
    whole = json_.dumps(result.to_dict(), indent=1, allow_nan=False)  # in ASCII: half surrogates too
    return whole.encode() + b"\n"


def _defect(error: Exception) -> str:
    return f"qbench itself failed, which is no verdict: {plain(f'{type(error).__name__}: {error}')}"
