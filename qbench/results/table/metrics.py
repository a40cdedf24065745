"""`METRICS`: the one table of what can be read from a record: name, unit, direction, kind, function, digits.

A metric's function takes one record and returns a number, or None where the record has none. What needs a
second record (a ratio to the base) or all of them (the bootstrap) is a column of `frame.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
from operator import attrgetter

from qbench.probes.registry import probes
from qbench.results.columns import layers
from qbench.results.columns.metric import Gate, Metric, in_seconds
from qbench.results.store.lookup import WHOLE_END, Value, absent, phase, within
from qbench.results.store.record import Record

__all__ = ["METRICS", "Metric", "values"]

_PHASES = (
    in_seconds("load_s", "phases", "loading the model", phase("load")),
    in_seconds("quantize_s", "phases", "quantizing the model, calibration included", phase("quantize")),
)  # fmt: skip

GATES: dict[str, Gate] = {
    **dict.fromkeys(("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"), Gate(1.005)),
    "nll_per_token": Gate(None, "difference"),
    "kl_divergence": Gate(0.005, "difference"),
    **dict.fromkeys(("kl_p99", "kl_max", "rms_delta_p"), Gate(None, "difference")),
    "top1_agreement": Gate(0.005, "difference"),
    "task_accuracy": Gate(0.01, "difference"),
    "bits_per_weight": Gate(1.001),
    "weight_error": Gate(1.01),
    **dict.fromkeys(("weight_bytes", "saved_bytes", "kv_cache_bytes"), Gate(1.01)),
    "activation_bytes": Gate(1.05),
    **dict.fromkeys(
        ("quantized_bytes", "metadata_bytes", "disk_bytes", "kv_cache_bytes_per_token"), Gate(None)
    ),
    **dict.fromkeys(("prefill_s", "decode_s_per_token"), Gate(1.03)),
    **dict.fromkeys(
        (
            "prefill_tokens_per_s", "decode_tokens_per_s", "decode_step_p50_s", "decode_step_p90_s",
            "decode_step_p99_s", "load_s", "quantize_s", "compile_s", "energy_j_per_token",
            "energy_j_per_prompt_token", "peak_memory_bytes", "quantize_peak_bytes",
        ),
        Gate(None),
    ),
}  # fmt: skip
"""What the gate may look at, and from which change on. Names of a suite's section `gate`."""


def _of(*names: str) -> list[Metric]:
    return [metric for name in names for metric in probes()[name].metrics]


METRICS: dict[str, Metric] = {
    metric.name: dataclasses.replace(metric, gate=GATES.get(metric.name))
    for metric in (
        *layers.METRICS,
        *_of("perplexity", "tasks", "memory"),
        *_PHASES,
        *_of("latency", "energy"),
    )
}

_BY_SOURCE = tuple(
    (source, {metric.name: metric for metric in metrics})
    for source, metrics in itertools.groupby(METRICS.values(), attrgetter("source"))
)


def values(record: Record) -> tuple[dict[str, Value], dict[str, str]]:
    """Every metric of the record; and of an ok one, why those are null that are.

    A probe that gave nothing is asked once, not by each of its metrics.
    """
    found: dict[str, Value] = {}
    reasons: dict[str, str] = {}
    for source, metrics in _BY_SOURCE:
        nothing = absent(record, source)
        if nothing is not None:
            found |= dict.fromkeys(metrics)
            reasons |= dict.fromkeys(metrics, nothing)
            continue
        for name, metric in metrics.items():
            value = found[name] = metric.value(record)
            if value is None:
                if record.status == "ok":
                    why = metric.why
                    reasons[name] = (why and why(record)) or within(record, source, name)
            elif value >= WHOLE_END and metric.dtype == "Int64":
                found[name], reasons[name] = None, "larger than a whole number of 64 bits"
    return found, reasons if record.status == "ok" else {}
