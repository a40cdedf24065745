"""Latency: what the timed corners (prompt length × batch size) of a cell come to.

The table shows the first corner; `latency_runs` gives all of them. Every metric is a function of one
`Corner`, so that both read the same numbers. Intervals are those of `medians.py`, over repetitions.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from qbench.probes.latency import shares
from qbench.results.columns.metric import Metric, fact, in_seconds
from qbench.results.stats.medians import FEWEST, median_interval, quantile
from qbench.results.store.lookup import Value, number, probe, remembered
from qbench.results.store.record import Record


class Corner(NamedTuple):
    """One prompt length and batch size of one record, and its raw samples."""

    record: Record
    run: Mapping[str, Any]
    prefill: list[float]
    """Seconds to the first token, one per repetition."""
    decode: list[float]
    """Seconds per token after the first, one per repetition: (E2E − TTFT) / (N − 1); none for N < 2."""
    ordered: Mapping[str, list[float]]
    """Sorted: `prefill`, `decode`, and `steps`, the seconds of every single decode step."""
    medians: Mapping[str, Value]
    """Of `prefill` and of `decode`; None for none."""


def _corner(record: Record, run: Mapping[str, Any]) -> Corner:
    prefill: list[float] = list(run.get("prefill_s", ()))
    rounds: list[list[float]] = run.get("decode_s", ())
    decode = [math.fsum(steps) / len(steps) for steps in rounds if steps]
    steps = sorted(itertools.chain.from_iterable(rounds))
    ordered = {"prefill": sorted(prefill), "decode": sorted(decode), "steps": steps}
    medians = {name: median(ordered[name]) if ordered[name] else None for name in ("prefill", "decode")}
    return Corner(record, run, prefill, decode, ordered, medians)


Read = Callable[[Corner], Value]
Why = Callable[[Corner], str | None]


def corners(record: Record) -> Sequence[Corner]:
    """Every corner that was timed, in the record's order."""
    return [_corner(record, run) for run in probe(record, "latency").get("runs") or []]


@remembered
def first_corner(record: Record) -> Corner | None:
    """The one that the table shows; None where nothing was timed."""
    return next(iter(corners(record)), None)


def latency_runs(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """A row for each corner of each record: who it is, and every latency metric under its column's name.

    Tidy: `pandas.DataFrame(latency_runs(records))`. Records that timed nothing have no row.
    """
    for record in records:
        cell = record.cell
        identity = {
            "suite": record.suite,
            "run": record.run,
            "cell_id": cell.id,
            "model": cell.model.name,
            "method": cell.method,
            "label": cell.label,
            "dtype": cell.dtype,
            "device": cell.device,
            "runtime": cell.runtime,
            "repetition": cell.repetition,
        }
        for corner in corners(record):
            yield {**identity, **{name: read(corner) for name, read in _READERS.items()}}


def _of(times: str, fraction: float) -> Read:
    """A quantile of `prefill`, `decode` or `steps`."""
    return lambda corner: quantile(corner.ordered[times], fraction)


def _end(times: str, end: int) -> Read:
    """Lower (0) or upper (1) end of the interval of the median."""

    def value(corner: Corner) -> Value:
        interval = median_interval(corner.ordered[times])
        return interval[end] if interval else None

    return value


def _per_second(count: str | None, times: str) -> Read:
    """Tokens per second of the whole batch: `count` names the tokens of one sequence, None is one."""

    def value(corner: Corner) -> Value:
        seconds = corner.medians[times]
        if not seconds:
            return None
        return float(corner.run[count] if count else 1) * float(corner.run["batch_size"]) / seconds

    return value


def _fact(*keys: str) -> Read:
    """A number that stands in the corner's samples; truth counts as 1 and 0."""

    def value(corner: Corner) -> Value:
        found: Any = corner.run
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, bool) else number(found)

    return value


def _compile_s(corner: Corner) -> Value:
    found = corner.run.get("compile")
    return math.fsum([*found["prefill_s"], *found.get("decode_s", [])]) if found else None


def _few(corner: Corner) -> str | None:
    return f"fewer than {FEWEST} repetitions say too little of a median" if corner.prefill else None


def _eager(corner: Corner) -> str:
    return "eager mode compiles nothing"


_READERS: dict[str, Read] = {}


def _first(metric: Metric, read: Read, why: Why | None = None) -> Metric:
    """The metric, read from the first corner of a record."""
    _READERS[metric.name] = read

    def value(record: Record) -> Value:
        corner = first_corner(record)
        return None if corner is None else read(corner)

    def reason(record: Record) -> str | None:
        corner = first_corner(record)
        return None if corner is None or why is None else why(corner)

    return dataclasses.replace(metric, value=value, why=reason)


def _s(name: str, description: str, read: Read, why: Why | None = None) -> Metric:
    return _first(in_seconds(name, "latency", description, _nothing), read, why)


def _share(
    name: str, description: str, better: shares.Better, read: Callable[[Corner], shares.Share]
) -> Metric:
    metric = Metric(name, "", better, "timed", "latency", 3, description, _nothing)
    return _first(metric, lambda corner: read(corner).value, lambda corner: read(corner).reason)


def _fact_of(name: str, description: str, read: Read, why: Why | None = None) -> Metric:
    return _first(fact(name, "latency", description, _nothing), read, why)


def _rate(name: str, description: str, read: Read) -> Metric:
    return _first(Metric(name, "tokens/s", "higher", "timed", "latency", 3, description, _nothing), read)


def _number(name: str, description: str, read: Read, why: Why | None = None) -> Metric:
    return _first(Metric(name, "", "lower", "timed", "latency", 3, description, _nothing), read, why)


def _nothing(record: Record) -> Value:
    return None


_LATENCY = "median over repetitions, first prompt length and batch size"
_INTERVAL = "95 % interval of that median, from order statistics; null for fewer than six repetitions"

METRICS = (
    _s("prefill_s", f"TTFT; {_LATENCY}", _of("prefill", 0.5)),
    _s("prefill_s_min", "fastest repetition of prefill_s", _of("prefill", 0.0)),
    _s("prefill_s_max", "slowest repetition of prefill_s", _of("prefill", 1.0)),
    _s("prefill_s_low", f"lower end of the {_INTERVAL}", _end("prefill", 0), _few),
    _s("prefill_s_high", "upper end of the same", _end("prefill", 1), _few),
    _rate(
        "prefill_tokens_per_s",
        "prompt tokens of the whole batch over prefill_s",
        _per_second("prompt_length", "prefill"),
    ),
    _s(
        "decode_s_per_token",
        f"(end to end − first token) / (N − 1); null for N < 2; {_LATENCY}",
        _of("decode", 0.5),
    ),
    _s("decode_s_per_token_min", "fastest repetition", _of("decode", 0.0)),
    _s("decode_s_per_token_max", "slowest repetition", _of("decode", 1.0)),
    _s(
        "decode_s_per_token_low",
        f"lower end of the {_INTERVAL}",
        _end("decode", 0),
        lambda corner: _few(corner) if corner.decode else None,
    ),
    _s(
        "decode_s_per_token_high",
        "upper end of the same",
        _end("decode", 1),
        lambda corner: _few(corner) if corner.decode else None,
    ),
    _s("decode_step_p50_s", "median of all single steps of all repetitions", _of("steps", 0.5)),
    _s("decode_step_p90_s", "90th percentile of single steps", _of("steps", 0.9)),
    _s("decode_step_p99_s", "99th percentile of single steps", _of("steps", 0.99)),
    _rate(
        "decode_tokens_per_s", "tokens of the whole batch per second of decoding", _per_second(None, "decode")
    ),
    _share(
        "decode_outside_share",
        "part of a decode step outside the quantized layers (of an unquantized model: those that would be)",
        "lower",
        lambda corner: shares.outside(corner.run, "decode"),
    ),
    _share(
        "prefill_outside_share",
        "the same part of a prefill",
        "lower",
        lambda corner: shares.outside(corner.run, "prefill"),
    ),
    _share(
        "decode_bandwidth_share",
        "MBU: bytes that a step must read, over decode_s_per_token, over the read bandwidth measured here",
        "higher",
        lambda corner: shares.bandwidth(corner.record, corner.run, corner.medians["decode"]),
    ),
    _share(
        "prefill_flops_share",
        "MFU: operations of a prefill, over prefill_s, over the rate of a large product in the same "
        "arithmetic (int8 where the layers round their inputs), measured here",
        "higher",
        lambda corner: shares.operations(corner.record, corner.run, corner.medians["prefill"]),
    ),
    _s(
        "compile_s",
        "compiling prefill and decode of this corner, cold; no part of any other time",
        _compile_s,
        _eager,
    ),
    _number(
        "compile_logit_diff",
        "largest difference between compiled and eager logits on the cell's prompt",
        _fact("compile", "check", "max_abs_diff"),
        _eager,
    ),
    _fact_of(
        "compile_tokens_differ",
        "next tokens that differ between compiled and eager, within rounding",
        _fact("compile", "check", "tokens_differ"),
        _eager,
    ),
    _fact_of("warmup_rounds", "rounds before the first that counts", _fact("warmup", "rounds")),
    _fact_of("warmup_stable", "1 where the last rounds of warming up agreed", _fact("warmup", "stable")),
    _number(
        "warmup_cv",
        "standard deviation over mean of the last rounds of warming up",
        _fact("warmup", "cv"),
        lambda corner: "too few rounds of warming up",
    ),
    _fact_of("prompt_length", "prompt tokens timed", _fact("prompt_length")),
    _fact_of("batch_size", "sequences timed at once", _fact("batch_size")),
    _fact_of("generated_tokens", "generated tokens timed", _fact("generated_tokens")),
    _fact_of(
        "latency_repetitions", "how often it was timed", lambda corner: float(len(corner.prefill)) or None
    ),
)
