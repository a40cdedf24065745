"""Shares of one workload: of its time, outside the quantized layers; of what the machine can do, used.

A share over 1 is possible and says that the peak rate was not one: part of what was read lay in a cache.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Literal, NamedTuple

from qbench.results.store.lookup import Value, number
from qbench.results.store.record import Record

Samples = Mapping[str, Any]
"""JSON values of a record."""
NO_WORK = "the record does not tell what a forward pass reads and computes"
NO_STEPS = "undefined for fewer than two generated tokens"


class Share(NamedTuple):
    """A value, or why there is none."""

    value: Value
    reason: str | None = None


def non_layer(run: Samples, part: Literal["prefill", "decode"]) -> Share:
    """1 − time inside the layers / time of the whole, less the timer's own; median over forwards."""
    found = run.get("outside")
    if found is None:
        return Share(None, "the layers were not timed by themselves")
    if found.get("reason"):
        return Share(None, str(found["reason"]))
    whole, inside = (_flat(found[f"{part}{name}_s"]) for name in ("", "_inside"))
    if not whole:
        return Share(None, NO_STEPS)
    own_s = found["layers"] * found["timer_s"]
    pairs = zip(whole, inside, strict=True)
    return Share(median(1 - within_s / (whole_s - own_s) for whole_s, within_s in pairs))


def bandwidth(record: Record, run: Samples, decode_s: Value) -> Share:
    """MBU: bytes that a decode step must read per second of decoding, over the measured read bandwidth."""

    def moved(work: Samples, rates: Samples) -> tuple[Any, Any]:
        return work["decode_weight_bytes"] + work["decode_kv_bytes"], rates.get("read_bytes_per_s")

    return _used(record, run, decode_s, NO_STEPS, moved)


def operations(record: Record, run: Samples, prefill_s: Value) -> Share:
    """MFU: operations of the prefill per second of it, over the measured rate in the same arithmetic."""

    def computed(work: Samples, rates: Samples) -> tuple[Any, Any]:
        return work["prefill_flop"], (rates.get("gemm_flop_per_s") or {}).get(work["arithmetic"])

    return _used(record, run, prefill_s, "no round was timed", computed)


def _used(
    record: Record,
    run: Samples,
    seconds: Value,
    untimed: str,
    read: Callable[[Samples, Samples], tuple[Any, Any]],
) -> Share:
    """Amount per second over the peak rate, of which `read` takes both from work and peak rates."""
    work = run.get("work")
    if work is None:
        return Share(None, NO_WORK)
    if work.get("reason"):
        return Share(None, str(work["reason"]))
    if seconds is None:
        return Share(None, untimed)
    rates: Any = record.environment.get("ceilings")
    if reason := _no_rates(record, rates):
        return Share(None, reason)
    amount, rate = read(work, rates)
    peak = number(rate)
    return Share(amount / seconds / peak) if peak else Share(None, _UNMEASURED)


_UNMEASURED = "the run measured no such ceiling on this device"


def _no_rates(record: Record, rates: Any) -> str | None:
    """Reason that the run's peak rates, which the store takes from the manifest, say nothing, or None."""
    if not rates:
        return "the run's manifest holds no ceilings of this device"
    if rates.get("reason"):
        return f"no ceilings: {rates['reason']}"
    ours, theirs = record.environment.get("threads"), rates.get("threads")
    if record.cell.device == "cpu" and None not in (ours, theirs) and ours != theirs:
        return f"the ceilings were measured with {theirs} threads, the cell ran with {ours}"
    return None


def _flat(seconds: Sequence[Any]) -> list[float]:
    """Times of all rounds, of which each may hold one time or many."""
    nested = (entry if isinstance(entry, list) else (entry,) for entry in seconds)
    return list(filter(math.isfinite, itertools.chain.from_iterable(nested)))
