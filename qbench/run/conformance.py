"""Conformance of a method on the embedded model, for `qbench check`."""

from __future__ import annotations

from qbench.models.corpora import read_corpus
from qbench.models.load import load_model
from qbench.models.source import pin
from qbench.models.windows import draw_windows
from qbench.quant.conformance import Outcome, check

SAMPLES, SEQLEN = 16, 128
"""Calibration windows: enough tokens for a Hessian of full rank, 2,048 for at most 768 inputs."""


def check_method(name: str) -> list[Outcome]:
    """Runs the conformance suite of one method; MethodError for an unknown one.

    A method that reads its layers' inputs gets windows of the built-in calibration text.
    """
    reference = pin("builtin:austen-6m", None)
    tokenizer = load_model(reference, "bf16", "cpu").tokenizer
    windows = draw_windows(tokenizer, read_corpus("builtin:calibration"), SAMPLES, SEQLEN, seed=0)
    return check(name, lambda: load_model(reference, "bf16", "cpu").model, windows)
