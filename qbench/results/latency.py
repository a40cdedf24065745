"""Latency: the first (prompt, batch) run stands in the table; the others stay in the record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from qbench.results.metric import Metric, fact, in_seconds
from qbench.results.record import Record
from qbench.results.samples import Value, number, probe


def latency_run(record: Record) -> Mapping[str, Any]:
    runs = probe(record, "latency").get("runs") or [{}]
    return dict(runs[0])


def run_fact(name: str) -> Callable[[Record], Value]:
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


_LATENCY = "median over repetitions, first prompt length and batch size"

METRICS = (
    in_seconds("prefill_s", "latency", f"TTFT; {_LATENCY}", summary(prefill_times, "median")),
    in_seconds("prefill_s_min", "latency", "fastest repetition of prefill_s", summary(prefill_times, "min")),
    in_seconds("prefill_s_max", "latency", "slowest repetition of prefill_s", summary(prefill_times, "max")),
    Metric(
        "prefill_tokens_per_s", "tokens/s", "higher", "timed", "latency", 3,
        "prompt tokens of the whole batch over prefill_s", per_second("prompt_length", prefill_times),
    ),
    in_seconds(
        "decode_s_per_token", "latency", f"(end to end − first token) / (N − 1); null for N < 2; {_LATENCY}",
        summary(decode_times, "median"),
    ),
    in_seconds("decode_s_per_token_min", "latency", "fastest repetition", summary(decode_times, "min")),
    in_seconds("decode_s_per_token_max", "latency", "slowest repetition", summary(decode_times, "max")),
    in_seconds(
        "decode_step_p99_s", "latency", "99th percentile of single steps", summary(decode_steps, "p99"),
    ),
    Metric(
        "decode_tokens_per_s", "tokens/s", "higher", "timed", "latency", 3,
        "tokens of the whole batch per second of decoding", per_second(None, decode_times),
    ),
    fact("prompt_length", "latency", "prompt tokens timed", run_fact("prompt_length")),
    fact("batch_size", "latency", "sequences timed at once", run_fact("batch_size")),
    fact(
        "generated_tokens", "latency", "generated tokens timed",
        run_fact("generated_tokens"),
    ),
    fact(
        "latency_repetitions", "latency", "how often it was timed",
        lambda record: float(len(prefill_times(record))) or None,
    ),
)  # fmt: skip
