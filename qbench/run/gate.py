"""What `qbench gate` does for each way in which a baseline can be named."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from qbench.results.gate.finding import GateResult
from qbench.run import ab, ab_install
from qbench.suite.spec import Suite

SAME = "baseline and candidate are the same commit: whatever differs is noise"


def against_commit(suite: Suite, ref: str, order: ab.Order) -> GateResult:
    """The commit that `ref` names against the qbench that runs now. GateError, SuiteError."""
    root = ab_install.repository()
    order.heard(f"laying {ref} out beside the packages of {sys.prefix}")
    with ab_install.commit_installed(ref, root) as installed:
        noted = dataclasses.replace(order, notes=(*order.notes, installed.how, *_candidate(ref, root)))
        with ab.two_sides(installed, ab_install.here()) as sides:
            return ab.compare(suite, sides, noted)


def between(suite: Suite, baseline: str, candidate: str | None, order: ab.Order) -> GateResult:
    """Two installed environments, named by their interpreters. GateError, SuiteError."""
    second = ab_install.existing(candidate) if candidate else ab_install.here()
    with ab.two_sides(ab_install.existing(baseline), second) as sides:
        return ab.compare(suite, sides, order)


def _candidate(ref: str, root: Path) -> list[str]:
    """What the reader must know of the candidate, which is the working tree or an installed package."""
    import qbench

    if not Path(qbench.__file__).resolve().is_relative_to(root):
        return [f"the candidate is the qbench installed in {sys.prefix}, and not the tree {root}"]
    if ab_install.changed_since_commit(root):
        return [f"the candidate is the working tree {root} with changes that are in no commit"]
    return [SAME] if ab_install.resolve("HEAD", root) == ab_install.resolve(ref, root) else []
