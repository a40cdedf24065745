"""Looking into a record's raw samples: the value a metric wants, or None where the record has none.

Each function takes one record. None is never an error here: `missing_reason` says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np

from qbench.results.record import Record

Value = float | None
_OUTSIDE_PROBES = {"phases": "this phase did not run", "layers": "no quantized layers"}
DTYPE_BITS = {"fp32": 32.0, "bf16": 16.0, "fp16": 16.0}


def probe(record: Record, name: str) -> Mapping[str, Any]:
    """The probe's samples; empty where it did not run or had nothing to measure with."""
    found = record.samples.get(name, {})
    return {} if found.get("reason") is not None and found.get("value", None) is None else found


def missing_reason(record: Record, source: str, name: str) -> str:
    """Why metric `name`, read from `source` (a probe, or `phases`, `layers`), is null in this record."""
    if record.status != "ok":
        return f"{record.status}: {record.reason or 'no reason was recorded'}"
    if source in _OUTSIDE_PROBES:
        return _OUTSIDE_PROBES[source]
    found = record.samples.get(source)
    if found is None:
        return f"{source} was not asked for"
    given = found.get("reason") or found.get("reasons", {}).get(name)
    return str(given) if given else _structural_reason(found, source)


def _structural_reason(found: Mapping[str, Any], source: str) -> str:
    if source == "latency" and found.get("runs"):
        return "undefined for fewer than two generated tokens"
    if source == "perplexity" and any(value is None for value in found.get("nll", [])):
        return "the log likelihood is not finite"
    return "not recorded"


# Quality


def windows(record: Record) -> tuple[list[float], list[float]] | None:
    """Negative log likelihood (nat) and number of targets, by window; None where any is not finite."""
    found = probe(record, "perplexity")
    nll, tokens = found.get("nll"), found.get("tokens")
    if not nll or not tokens or len(nll) != len(tokens):
        return None
    return (nll, tokens) if _finite(nll) else None


def _finite(values: list[float | None]) -> bool:
    """Whether all are numbers and finite; by their sum, since this runs for every cell of a large folder."""
    try:
        return math.isfinite(math.fsum(values))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # a null, inf − inf
        return False


def nll_per_token(record: Record) -> Value:
    measured = windows(record)
    return math.fsum(measured[0]) / math.fsum(measured[1]) if measured else None


def perplexity(record: Record) -> Value:
    nats = nll_per_token(record)
    return math.exp(nats) if nats is not None and nats < 700 else None


def token_count(record: Record) -> Value:
    measured = windows(record)
    return math.fsum(measured[1]) if measured else None


# Storage


def bits_per_weight(record: Record) -> Value:
    """Mean over the weights of all quantized layers, metadata included; the dtype's width for `none`."""
    if record.cell.method == "none":
        return DTYPE_BITS.get(record.cell.dtype)
    counted = [(layer.get("bits_per_weight"), math.prod(layer.get("shape", ()))) for layer in record.layers]
    if not counted or any(bits is None for bits, _ in counted):
        return None
    weights = sum(count for _, count in counted)
    return sum(bits * count for bits, count in counted) / weights if weights else None


def kernels(record: Record) -> list[str]:
    """The distinct kernels that ran, in alphabetical order."""
    return sorted({run["kernel"] for layer in record.layers for run in layer.get("executed", [])})


def layer_count(record: Record) -> Value:
    return float(len(record.layers)) if record.layers or record.status == "ok" else None


def fallback_layers(record: Record) -> Value:
    return (
        float(sum(bool(layer.get("fallback_reason")) for layer in record.layers)) if record.layers else None
    )


def weight_error(record: Record) -> Value:
    """Median over the quantized layers of ‖w − ŵ‖ / ‖w‖."""
    errors = [layer["weight_error"] for layer in record.layers if layer.get("weight_error") is not None]
    return float(median(errors)) if errors else None


def memory(name: str) -> Callable[[Record], Value]:
    def value(record: Record) -> Value:
        return number(probe(record, "memory").get(name))

    return value


def phase(name: str) -> Callable[[Record], Value]:
    def value(record: Record) -> Value:
        return number(record.phases.get(name))

    return value


# Latency: the first (prompt, batch) run stands in the table; the others stay in the record.


def latency_run(record: Record) -> Mapping[str, Any]:
    runs = probe(record, "latency").get("runs") or [{}]
    return dict(runs[0])


def latency_fact(name: str) -> Callable[[Record], Value]:
    def value(record: Record) -> Value:
        return number(latency_run(record).get(name))

    return value


def prefill_times(record: Record) -> list[float]:
    """Seconds to the first token, one per repetition."""
    return list(latency_run(record).get("prefill_s", []))


def decode_times(record: Record) -> list[float]:
    """Seconds per token after the first, one per repetition: (E2E − TTFT) / (N − 1); none for N < 2."""
    return [math.fsum(steps) / len(steps) for steps in latency_run(record).get("decode_s", []) if steps]


def decode_steps(record: Record) -> list[float]:
    """Seconds of every single decode step of every repetition."""
    return [step for steps in latency_run(record).get("decode_s", []) for step in steps]


def summary(times: Callable[[Record], list[float]], statistic: str) -> Callable[[Record], Value]:
    """`median`, `min`, `max` or `p99` of the times."""
    fraction = {"min": 0.0, "median": 0.5, "p99": 0.99, "max": 1.0}[statistic]

    def value(record: Record) -> Value:
        ordered = sorted(times(record))
        if not ordered:
            return None
        place = fraction * (len(ordered) - 1)  # linear between neighbours, as numpy.quantile
        below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
        return below + (above - below) * (place - math.floor(place))

    return value


def per_second(count: str | None, times: Callable[[Record], list[float]]) -> Callable[[Record], Value]:
    """Tokens per second of the whole batch: `count` names the tokens of one sequence, None is one."""

    def value(record: Record) -> Value:
        values, run = times(record), latency_run(record)
        if not values or not median(values):
            return None
        tokens = float(run[count] if count else 1) * float(run["batch_size"])
        return tokens / median(values)

    return value


# Energy


def joules_per_token(part: str, *, net: bool) -> Callable[[Record], Value]:
    """Median over the windows of `part`; net takes off what the idle device drew in the same time."""

    def value(record: Record) -> Value:
        found = probe(record, "energy").get(part) or {}
        gross, tokens = found.get("gross_j"), found.get("tokens")
        if not gross or not tokens or (net and found.get("idle_w") is None):
            return None
        idle = found["idle_w"] * np.asarray(found["window_s"]) if net else 0.0
        return float(np.median((np.asarray(gross) - idle) / np.asarray(tokens)))

    return value


def number(value: Any) -> Value:
    """A finite number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
