"""Latency metrics: times, rates and shares of the timed workloads (prompt length × batch size) of a cell.

The table shows the first workload; `latency_runs` gives all of them. Every metric is a function of one
`Workload`, so that both read the same numbers. Intervals are those of `medians.py`, over repetitions.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, NamedTuple

from qbench.probes.latency import shares
from qbench.results.columns.column import Display, Gate
from qbench.results.columns.metric import Metric, VersusBase, fact, in_seconds
from qbench.results.columns.paired_blocks import Blocks
from qbench.results.stats.medians import FEWEST, median_interval, quantile
from qbench.results.store.lookup import Value, number, probe, remembered
from qbench.results.store.record import Record


class Workload(NamedTuple):
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
    """Medians of `prefill` and of `decode`; None where there are none."""


def _workload(record: Record, run: Mapping[str, Any]) -> Workload:
    prefill: list[float] = list(run.get("prefill_s", ()))
    rounds: list[list[float]] = run.get("decode_s", ())
    decode = [math.fsum(steps) / len(steps) for steps in rounds if steps]
    steps = sorted(itertools.chain.from_iterable(rounds))
    ordered = {"prefill": sorted(prefill), "decode": sorted(decode), "steps": steps}
    medians = {name: median(ordered[name]) if ordered[name] else None for name in ("prefill", "decode")}
    return Workload(record, run, prefill, decode, ordered, medians)


Read = Callable[[Workload], Value]
Why = Callable[[Workload], str | None]


def workloads(record: Record) -> Sequence[Workload]:
    """Every workload that was timed, in the record's order."""
    return [_workload(record, run) for run in probe(record, "latency").get("runs") or []]


@remembered
def first_workload(record: Record) -> Workload | None:
    """The one that the table shows; None where nothing was timed."""
    return next(iter(workloads(record)), None)


def latency_runs(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """A row for each workload of each record: who it is, and every latency metric under its column's name.

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
        for workload in workloads(record):
            yield {**identity, **{name: read(workload) for name, read in _READERS.items()}}


def _of(times: str, fraction: float) -> Read:
    """A quantile of `prefill`, `decode` or `steps`."""
    return lambda workload: quantile(workload.ordered[times], fraction)


def _end(times: str, end: int) -> Read:
    """Lower (0) or upper (1) end of the interval of the median."""

    def value(workload: Workload) -> Value:
        interval = median_interval(workload.ordered[times])
        return interval[end] if interval else None

    return value


def _per_second(count: str | None, times: str) -> Read:
    """Tokens per second of the whole batch: `count` names the tokens of one sequence, None is one."""

    def value(workload: Workload) -> Value:
        seconds = workload.medians[times]
        if not seconds:
            return None
        return float(workload.run[count] if count else 1) * float(workload.run["batch_size"]) / seconds

    return value


def _fact(*keys: str) -> Read:
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


def _few(workload: Workload) -> str | None:
    return f"fewer than {FEWEST} repetitions say too little of a median" if workload.prefill else None


def _eager(workload: Workload) -> str:
    return "eager mode compiles nothing"


@dataclass(frozen=True)
class Latency:
    """A metric, and how it is read from any workload."""

    metric: Metric
    read: Read
    why: Why | None = None

    def of_first(self) -> Metric:
        """The metric, read from the first workload of a record."""

        def value(record: Record) -> Value:
            workload = first_workload(record)
            return None if workload is None else self.read(workload)

        def reason(record: Record) -> str | None:
            workload = first_workload(record)
            return None if workload is None or self.why is None else self.why(workload)

        conditions = _CONDITIONS.get(self.metric.name.partition("_")[0], ())
        return dataclasses.replace(self.metric, value=value, why=reason, conditions=conditions)


def _s(name: str, description: str, read: Read, why: Why | None = None, gate: Gate | None = None) -> Latency:
    return Latency(in_seconds(name, "latency", description, _nothing, gate=gate), read, why)


def _ends(name: str, times: str) -> tuple[Latency, Latency]:
    """Both ends of the interval of the median."""
    return (
        _s(f"{name}_low", f"lower end of the {_INTERVAL}", _end(times, 0), _too_few(times)),
        _s(f"{name}_high", "upper end of the same", _end(times, 1), _too_few(times)),
    )


def _too_few(times: str) -> Why:
    return lambda workload: _few(workload) if workload.ordered[times] else None


def _share(
    name: str, description: str, better: shares.Better, read: Callable[[Workload], shares.Share]
) -> Latency:
    metric = Metric(name, "", better, "timed", "latency", 3, description, _nothing, group="Time")
    return Latency(metric, lambda workload: read(workload).value, lambda workload: read(workload).reason)


def _fact_of(name: str, description: str, read: Read, why: Why | None = None) -> Latency:
    return Latency(fact(name, "latency", description, _nothing, group="Time"), read, why)


def _rate(name: str, description: str, read: Read) -> Latency:
    metric = Metric(
        name,
        "tokens/s",
        "higher",
        "timed",
        "latency",
        3,
        description,
        _nothing,
        gate=Gate(None),
        group="Time",
    )
    return Latency(metric, read)


def _number(name: str, description: str, read: Read, why: Why | None = None) -> Latency:
    metric = Metric(name, "", "lower", "timed", "latency", 3, description, _nothing, group="Time")
    return Latency(metric, read, why)


def _nothing(record: Record) -> Value:
    return None


def _median_of(
    part: Literal["prefill", "decode"], name: str, description: str, display: Display, compared: int
) -> Latency:
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
    metric = dataclasses.replace(
        in_seconds(name, "latency", description, _nothing, gate=Gate(1.03)),
        title=part.capitalize(), display=display, repetitions=seconds, versus=speedup, compared=compared,
        interval="95 % interval of the median, of fewer than six repetitions their range",
    )  # fmt: skip
    return Latency(metric, _of(part, 0.5))


_LATENCY = "median over repetitions, first prompt length and batch size"
_INTERVAL = "95 % interval of that median, from order statistics; null for fewer than six repetitions"
_SPEEDUP = (
    "above one is faster; median over the blocks that both took part in, or without such blocks the quotient "
    "of the two medians"
)
_DECLARED = (
    _median_of("prefill", "prefill_s", f"TTFT; {_LATENCY}", Display(60, markdown=45), 1),
    _s("prefill_s_min", "fastest repetition of prefill_s", _of("prefill", 0.0)),
    _s("prefill_s_max", "slowest repetition of prefill_s", _of("prefill", 1.0)),
    *_ends("prefill_s", "prefill"),
    _rate(
        "prefill_tokens_per_s",
        "prompt tokens of the whole batch over prefill_s",
        _per_second("prompt_length", "prefill"),
    ),
    _median_of(
        "decode",
        "decode_s_per_token",
        f"(end to end − first token) / (N − 1); null for N < 2; {_LATENCY}",
        Display(50),
        2,
    ),
    _s("decode_s_per_token_min", "fastest repetition", _of("decode", 0.0)),
    _s("decode_s_per_token_max", "slowest repetition", _of("decode", 1.0)),
    *_ends("decode_s_per_token", "decode"),
    _s(
        "decode_step_p50_s",
        "median of all single steps of all repetitions",
        _of("steps", 0.5),
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
        "lower",
        lambda workload: shares.outside(workload.run, "decode"),
    ),
    _share(
        "prefill_outside_share",
        "the same part of a prefill",
        "lower",
        lambda workload: shares.outside(workload.run, "prefill"),
    ),
    _share(
        "decode_bandwidth_share",
        "MBU: bytes that a step must read, over decode_s_per_token, over the read bandwidth measured here",
        "higher",
        lambda workload: shares.bandwidth(workload.record, workload.run, workload.medians["decode"]),
    ),
    _share(
        "prefill_flops_share",
        "MFU: operations of a prefill, over prefill_s, over the rate of a large product in the same "
        "arithmetic (int8 where the layers round their inputs), measured here",
        "higher",
        lambda workload: shares.operations(workload.record, workload.run, workload.medians["prefill"]),
    ),
    _s(
        "compile_s",
        "compiling prefill and decode of this workload, cold; no part of any other time",
        _compile_s,
        _eager,
        Gate(None),
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
        lambda workload: "too few rounds of warming up",
    ),
    _fact_of("prompt_length", "prompt tokens timed", _fact("prompt_length")),
    _fact_of("batch_size", "sequences timed at once", _fact("batch_size")),
    _fact_of("generated_tokens", "generated tokens timed", _fact("generated_tokens")),
    _fact_of(
        "latency_repetitions", "how often it was timed", lambda workload: float(len(workload.prefill)) or None
    ),
)

_CONDITIONS = {"prefill": ("prompt_length", "batch_size"), "decode": ("generated_tokens", "batch_size")}
_READERS: dict[str, Read] = {one.metric.name: one.read for one in _DECLARED}
METRICS = tuple(one.of_first() for one in _DECLARED)
