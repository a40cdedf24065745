"""`METRICS`: the one table of what can be read from a record: name, unit, direction, kind, function, digits.

A metric's function takes one record and returns a number, or None where the record has none. What needs a
second record (a ratio to the base) or all of them (the bootstrap) is a column of `frame.py`.
"""

from __future__ import annotations

from qbench.results import energy, latency, layers, memory, quality, tasks
from qbench.results.metric import Metric, in_seconds
from qbench.results.samples import phase

__all__ = ["METRICS", "Metric"]

_PHASES = (
    in_seconds("load_s", "phases", "loading the model", phase("load")),
    in_seconds("quantize_s", "phases", "quantizing the model, calibration included", phase("quantize")),
)  # fmt: skip

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *layers.METRICS,
        *quality.METRICS,
        *tasks.METRICS,
        *memory.METRICS,
        *_PHASES,
        *latency.METRICS,
        *energy.METRICS,
    )
}
