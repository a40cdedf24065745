"""Conformance of a method on the embedded model, for `qbench check`."""

from __future__ import annotations

from qbench.models.load import load_model
from qbench.models.source import pin
from qbench.quant.conformance import Outcome, check


def check_method(name: str) -> list[Outcome]:
    """Runs the conformance suite of one method; MethodError for an unknown one."""
    reference = pin("builtin:austen-6m", None)
    return check(name, lambda: load_model(reference, "bf16", "cpu").model)
