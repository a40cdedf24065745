"""`Workload`: one prompt length × batch size of a cell that was timed, and its raw samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from qbench.results.store.lookup import Value, probe, remembered
from qbench.results.store.record import Record


class Workload(NamedTuple):
    """One prompt length and batch size of one record, and its raw samples."""

    record: Record
    run: Mapping[str, Any]
    """Its entry in the record."""
    prefill: list[float]
    """Seconds to the first token, one per repetition."""
    decode: list[float]
    """Seconds per token after the first, one per repetition: (E2E − TTFT) / (N − 1); none for N < 2."""
    ordered: Mapping[str, list[float]]
    """Sorted: `prefill`, `decode`, and `steps`, the seconds of every single decode step."""
    medians: Mapping[str, Value]
    """Medians of `prefill` and of `decode`; None where there are none."""


def workloads(record: Record) -> Sequence[Workload]:
    """Every workload that was timed, in the record's order."""
    return [_workload(record, run) for run in probe(record, "latency").get("runs") or []]


@remembered
def first_workload(record: Record) -> Workload | None:
    """The one that the table shows; None where nothing was timed."""
    return next(iter(workloads(record)), None)


def _workload(record: Record, run: Mapping[str, Any]) -> Workload:
    prefill: list[float] = list(run.get("prefill_s", ()))
    rounds: list[list[float]] = run.get("decode_s", ())
    decode = [math.fsum(steps) / len(steps) for steps in rounds if steps]
    steps = sorted(itertools.chain.from_iterable(rounds))
    ordered = {"prefill": sorted(prefill), "decode": sorted(decode), "steps": steps}
    medians = {name: median(ordered[name]) if ordered[name] else None for name in ("prefill", "decode")}
    return Workload(record, run, prefill, decode, ordered, medians)
