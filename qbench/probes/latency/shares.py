"""Shares of one workload: of its time, outside the quantized layers; of what the machine can do, used.

A share over 1 is possible and says that the ceiling was not one: part of what was read lay in a cache.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Literal, NamedTuple

from qbench.results.store.lookup import Value, number
from qbench.results.store.record import Record

Better = Literal["lower", "higher"]
NO_WORK = "the record does not tell what a forward pass reads and computes"


class Share(NamedTuple):
    """A value, or why there is none."""

    value: Value
    reason: str | None = None


def outside(run: Mapping[str, Any], part: Literal["prefill", "decode"]) -> Share:
    """1 − time inside the layers / time of the whole, less the timer's own; median over forwards."""
    found = run.get("outside")
    if found is None:
        return Share(None, "the layers were not timed by themselves")
    if found.get("reason"):
        return Share(None, str(found["reason"]))
    whole, inside = (_flat(found[f"{part}{name}_s"]) for name in ("", "_inside"))
    if not whole:
        return Share(None, "undefined for fewer than two generated tokens")
    own_s = found["layers"] * found["timer_s"]
    pairs = zip(whole, inside, strict=True)
    return Share(median(1 - within_s / (whole_s - own_s) for whole_s, within_s in pairs))


def bandwidth(record: Record, run: Mapping[str, Any], decode_s: Value) -> Share:
    """MBU: bytes that a decode step must read per second of decoding, over the measured read bandwidth."""
    work = run.get("work")
    if work is None:
        return Share(None, NO_WORK)
    if work.get("reason"):
        return Share(None, str(work["reason"]))
    if decode_s is None:
        return Share(None, "undefined for fewer than two generated tokens")
    ceiling = _ceiling(record, lambda found: found.get("read_bytes_per_s"))
    if ceiling.value is None:
        return ceiling
    moved = work["decode_weight_bytes"] + work["decode_kv_bytes"]
    return Share(moved / decode_s / ceiling.value)


def operations(record: Record, run: Mapping[str, Any], prefill_s: Value) -> Share:
    """MFU: operations of the prefill per second of it, over the measured rate in the same arithmetic."""
    work = run.get("work")
    if work is None:
        return Share(None, NO_WORK)
    if work.get("reason"):
        return Share(None, str(work["reason"]))
    if prefill_s is None:
        return Share(None, "no round was timed")
    ceiling = _ceiling(record, lambda found: (found.get("gemm_flop_per_s") or {}).get(work["arithmetic"]))
    if ceiling.value is None:
        return ceiling
    return Share(work["prefill_flop"] / prefill_s / ceiling.value)


def _ceiling(record: Record, pick: Callable[[Mapping[str, Any]], Any]) -> Share:
    """A ceiling of the run's machine, which the store takes from the manifest."""
    found = record.environment.get("ceilings")
    if not found:
        return Share(None, "the run's manifest holds no ceilings of this device")
    if found.get("reason"):
        return Share(None, f"no ceilings: {found['reason']}")
    ours, theirs = record.environment.get("threads"), found.get("threads")
    if record.cell.device == "cpu" and None not in (ours, theirs) and ours != theirs:
        return Share(None, f"the ceilings were measured with {theirs} threads, the cell ran with {ours}")
    value = number(pick(found))
    return Share(value, None if value else "the run measured no such ceiling on this device")


def _flat(seconds: Sequence[Any]) -> list[float]:
    """Times of all rounds, of which each may hold one time or many."""
    nested = (entry if isinstance(entry, list) else (entry,) for entry in seconds)
    return list(filter(math.isfinite, itertools.chain.from_iterable(nested)))
