"""`METRICS`: the one table of what can be read from a record: name, unit, direction, kind, function, digits.

A metric's function takes one record and returns a number, or None where the record has none. What needs a
second record (a ratio to the base) or all of them (the bootstrap) is a column of `frame.py`.
"""

from __future__ import annotations

import itertools
from operator import attrgetter

from qbench.results import energy, latency, layers, memory, quality, tasks
from qbench.results.metric import Metric, in_seconds
from qbench.results.record import Record
from qbench.results.samples import Value, absent, phase

__all__ = ["METRICS", "Metric", "reasons", "values"]

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

_BY_SOURCE = tuple(
    (source, tuple(metrics)) for source, metrics in itertools.groupby(METRICS.values(), attrgetter("source"))
)


def values(record: Record) -> dict[str, Value]:
    """Every metric of the record; a probe that gave nothing is not asked by each of its metrics again."""
    found: dict[str, Value] = {}
    for source, metrics in _BY_SOURCE:
        nothing = absent(record, source) is not None
        for metric in metrics:
            found[metric.name] = None if nothing else metric.value(record)
    return found


def reasons(record: Record, found: dict[str, Value]) -> dict[str, str]:
    """Why metrics are null, of an ok record; `found` are its `values`."""
    given: dict[str, str] = {}
    for source, metrics in _BY_SOURCE:
        nothing = absent(record, source)
        for metric in metrics:
            if found[metric.name] is None:
                given[metric.name] = nothing or metric.reason(record)
    return given
