"""Metrics of a cell's phases: seconds of loading and of quantizing."""

from __future__ import annotations

import dataclasses

from qbench.results.columns.column import Display, Gate
from qbench.results.columns.metric import in_seconds
from qbench.results.store.lookup import phase

METRICS = (
    in_seconds("load_s", "phases", "loading the model", phase("load"), gate=Gate(None)),
    dataclasses.replace(
        in_seconds(
            "quantize_s", "phases", "quantizing the model, calibration included", phase("quantize"),
            gate=Gate(None),
        ),
        title="Quantize", display=Display(110, markdown=0), compared=4,
    ),
)  # fmt: skip
