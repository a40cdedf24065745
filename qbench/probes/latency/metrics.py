"""Latency metrics: times, rates and shares of the timed workloads (prompt length × batch size) of a cell.

The table shows the first workload; `latency_runs` gives all of them. Every metric is a function of one
`Workload`, so that both read the same numbers. Intervals are those of `medians.py`, over repetitions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from qbench.json_object import JsonObject
from qbench.probes.latency import shares
from qbench.probes.latency.workloads import Workload, first_workload, workloads
from qbench.results.columns.column import Direction, Display, Gate, Kind
from qbench.results.columns.metric import Metric, VersusBase
from qbench.results.columns.paired_blocks import Blocks
from qbench.results.stats.medians import FEWEST, median_interval, quantile
from qbench.results.store.lookup import Value, number
from qbench.results.store.record import Record

Read = Callable[[Workload], Value]
Why = Callable[[Workload], str | None]


def latency_runs(records: Iterable[Record]) -> Iterator[JsonObject]:
    """A row for each workload of each record: who it is, and every latency metric under its column's name.

    Tidy: `pandas.DataFrame(latency_runs(records))`. Records that timed nothing have no row.
    """
    for record in records:
        cell = record.cell
        names = ("method", "label", "dtype", "device", "runtime", "repetition")
        identity = {"suite": record.suite, "run": record.run, "cell_id": cell.id, "model": cell.model.name}
        identity |= {name: getattr(cell, name) for name in names}
        for workload in workloads(record):
            yield {**identity, **{one.metric.name: one.read(workload) for one in _DECLARED}}


class _Latency(NamedTuple):
    """A metric, read from the first workload of a record, and how it is read from any workload."""

    metric: Metric
    read: Read


def _latency(
    name: str, unit: str, direction: Direction | None, description: str, read: Read, why: Why | None = None,
    gate: Gate | None = None, kind: Kind = "timed",
) -> _Latency:  # fmt: skip
    def value(record: Record) -> Value:
        workload = first_workload(record)
        return None if workload is None else read(workload)

    def reason(record: Record) -> str | None:
        workload = first_workload(record)
        return None if workload is None or why is None else why(workload)

    digits, conditions = 6 if kind == "fact" else 3, _CONDITIONS.get(name.partition("_")[0], ())
    metric = Metric(
        name, unit, direction, kind, "latency", digits, description, value, reason, gate, "Time",
        conditions=conditions,
    )  # fmt: skip
    return _Latency(metric, read)


def _s(name: str, description: str, read: Read, why: Why | None = None, gate: Gate | None = None) -> _Latency:
    return _latency(name, "s", "lower", description, read, why, gate)


def _rate(name: str, description: str, read: Read) -> _Latency:
    return _latency(name, "tokens/s", "higher", description, read, gate=Gate(None))


def _fact(name: str, description: str, read: Read, why: Why | None = None) -> _Latency:
    return _latency(name, "", None, description, read, why, kind="fact")


def _share(
    name: str, description: str, better: Direction, read: Callable[[Workload], shares.Share]
) -> _Latency:
    value, reason = lambda workload: read(workload).value, lambda workload: read(workload).reason
    return _latency(name, "", better, description, value, reason)


def _ends(name: str, times: str) -> tuple[_Latency, _Latency]:
    """Both ends of the interval of the median."""

    def end(place: int) -> Read:
        def value(workload: Workload) -> Value:
            interval = median_interval(workload.ordered[times])
            return interval[place] if interval else None

        return value

    def too_few(workload: Workload) -> str | None:
        return _TOO_FEW if workload.ordered[times] and workload.prefill else None

    return (
        _s(f"{name}_low", f"lower end of the {_INTERVAL}", end(0), too_few),
        _s(f"{name}_high", "upper end of the same", end(1), too_few),
    )


def _median_of(
    part: Literal["prefill", "decode"], name: str, description: str, display: Display, compared: int
) -> _Latency:
    """A time whose single repetitions are known, and the speedup that comes of it."""

    def seconds(record: Record) -> Sequence[float]:
        workload = first_workload(record)
        return getattr(workload, part) if workload else ()

    def blocks(record: Record) -> Blocks:
        workload = first_workload(record)
        if workload is None or not workload.run.get("since") or not workload.run.get("lap"):
            return Blocks()
        return Blocks(workload.run["since"], tuple(workload.run["lap"]), tuple(getattr(workload, part)))

    speedup = VersusBase(
        "speedup", f"{part}_speedup", f"{name} of the base over this cell's; {_SPEEDUP}", blocks=blocks
    )
    metric, read = _s(name, description, _of(part, 0.5), gate=Gate(1.03))
    metric = dataclasses.replace(
        metric, title=part.capitalize(), display=display, repetitions=seconds, versus=speedup,
        compared=compared, interval="95 % interval of the median, of fewer than six repetitions their range",
    )  # fmt: skip
    return _Latency(metric, read)


def _of(times: str, fraction: float) -> Read:
    """A quantile of `prefill`, `decode` or `steps`."""
    return lambda workload: quantile(workload.ordered[times], fraction)


def _per_second(count: str | None, times: str) -> Read:
    """Tokens per second of the whole batch: `count` names the tokens of one sequence, None is one."""

    def value(workload: Workload) -> Value:
        seconds = workload.medians[times]
        if not seconds:
            return None
        return float(workload.run[count] if count else 1) * float(workload.run["batch_size"]) / seconds

    return value


def _stored(*keys: str) -> Read:
    """A number that stands in the workload's samples; truth counts as 1 and 0."""

    def value(workload: Workload) -> Value:
        found: Any = workload.run
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, bool) else number(found)

    return value


def _compile_s(workload: Workload) -> Value:
    found = workload.run.get("compile")
    return math.fsum([*found["prefill_s"], *found.get("decode_s", [])]) if found else None


def _because(reason: str) -> Why:
    return lambda workload: reason


_CONDITIONS = {"prefill": ("prompt_length", "batch_size"), "decode": ("generated_tokens", "batch_size")}
_LATENCY = "median over repetitions, first prompt length and batch size"
_INTERVAL = "95 % interval of that median, from order statistics; null for fewer than six repetitions"
_TOO_FEW = f"fewer than {FEWEST} repetitions say too little of a median"
_SPEEDUP = (
    "above one is faster; median over the blocks that both took part in, or without such blocks the quotient "
    "of the two medians"
)
_EAGER = _because("eager mode compiles nothing")
_DECLARED = (
    _median_of("prefill", "prefill_s", f"TTFT; {_LATENCY}", Display(60, markdown=45), 1),
    _s("prefill_s_min", "fastest repetition of prefill_s", _of("prefill", 0.0)),
    _s("prefill_s_max", "slowest repetition of prefill_s", _of("prefill", 1.0)),
    *_ends("prefill_s", "prefill"),
    _rate(
        "prefill_tokens_per_s", "prompt tokens of the whole batch over prefill_s",
        _per_second("prompt_length", "prefill"),
    ),
    _median_of(
        "decode", "decode_s_per_token", "(end to end − first token) / (N − 1); null for N < 2; " + _LATENCY,
        Display(50), 2,
    ),
    _s("decode_s_per_token_min", "fastest repetition", _of("decode", 0.0)),
    _s("decode_s_per_token_max", "slowest repetition", _of("decode", 1.0)),
    *_ends("decode_s_per_token", "decode"),
    _s(
        "decode_step_p50_s", "median of all single steps of all repetitions", _of("steps", 0.5),
        gate=Gate(None),
    ),
    _s("decode_step_p90_s", "90th percentile of single steps", _of("steps", 0.9), gate=Gate(None)),
    _s("decode_step_p99_s", "99th percentile of single steps", _of("steps", 0.99), gate=Gate(None)),
    _rate(
        "decode_tokens_per_s", "tokens of the whole batch per second of decoding", _per_second(None, "decode")
    ),
    _share(
        "decode_outside_share",
        "part of a decode step outside the quantized layers (of an unquantized model: those that would be)",
        "lower", lambda workload: shares.non_layer(workload.run, "decode"),
    ),
    _share(
        "prefill_outside_share", "the same part of a prefill", "lower",
        lambda workload: shares.non_layer(workload.run, "prefill"),
    ),
    _share(
        "decode_bandwidth_share",
        "MBU: bytes that a step must read, over decode_s_per_token, over the read bandwidth measured here",
        "higher",
        lambda workload: shares.bandwidth(workload.record, workload.run, workload.medians["decode"]),
    ),
    _share(
        "prefill_flops_share", "MFU: operations of a prefill, over prefill_s, over the rate of a large "
        "product in the same arithmetic (int8 where the layers round their inputs), measured here", "higher",
        lambda workload: shares.operations(workload.record, workload.run, workload.medians["prefill"]),
    ),
    _s(
        "compile_s", "compiling prefill and decode of this workload, cold; no part of any other time",
        _compile_s, _EAGER, Gate(None),
    ),
    _latency(
        "compile_logit_diff", "", "lower",
        "largest difference between compiled and eager logits on the cell's prompt",
        _stored("compile", "check", "max_abs_diff"), _EAGER,
    ),
    _fact(
        "compile_tokens_differ", "next tokens that differ between compiled and eager, within rounding",
        _stored("compile", "check", "tokens_differ"), _EAGER,
    ),
    _fact("warmup_rounds", "rounds before the first that counts", _stored("warmup", "rounds")),
    _fact("warmup_stable", "1 where the last rounds of warming up agreed", _stored("warmup", "stable")),
    _latency(
        "warmup_cv", "", "lower", "standard deviation over mean of the last rounds of warming up",
        _stored("warmup", "cv"), _because("too few rounds of warming up"),
    ),
    _fact("prompt_length", "prompt tokens timed", _stored("prompt_length")),
    _fact("batch_size", "sequences timed at once", _stored("batch_size")),
    _fact("generated_tokens", "generated tokens timed", _stored("generated_tokens")),
    _fact(
        "latency_repetitions", "how often it was timed", lambda workload: float(len(workload.prefill)) or None
    ),
)  # fmt: skip
METRICS = tuple(one.metric for one in _DECLARED)
