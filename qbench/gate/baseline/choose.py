"""`only_run`: the run that a folder stands for."""

from __future__ import annotations

from pathlib import Path

from qbench.errors import ResultsError
from qbench.results.store.folders import Run, Store


def only_run(folder: Path) -> Run:
    """The newest run of the one suite under `folder`, or the run that it is; else ResultsError."""
    found = Store(folder).newest()
    if not found:
        raise ResultsError(f"no runs in {folder}; name a suite's folder of results, or a run's")
    if len(found) > 1:
        suites = ", ".join(run.suite for run in found)
        raise ResultsError(f"{folder} holds several suites ({suites}); name one's folder, or a run's")
    return found[0]
