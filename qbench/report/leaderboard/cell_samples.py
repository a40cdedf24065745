"""A record's raw samples as short series that a panel can draw: losses by window, times by round, joules."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor, isfinite, log10
from typing import Any

from qbench.json_object import JsonObject
from qbench.probes.energy.metrics import PARTS, per_trial
from qbench.probes.latency.workloads import workloads
from qbench.probes.quality.metrics import windows
from qbench.report.view.digits import scale_for
from qbench.results.store.lookup import finite, probe
from qbench.results.store.record import Record

MOST = 1000
"""Samples of a series that travel with the page; of more the first, and the panel says so."""
DIGITS = 6


def kept(value: Any, digits: int = DIGITS) -> float | None:
    """A number with so many significant digits; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


def series(record: Record) -> list[JsonObject]:
    """Series with title, unit, meaning of a sample, values (None where not finite) and their number."""
    return list(_series(record))


def _series(record: Record) -> Iterator[JsonObject]:
    found = windows(record)
    if found:
        losses = [nats / tokens if tokens else None for nats, tokens in zip(*found, strict=True)]
        yield _one("Loss by window", "nat/token", "window", losses)
    elif probe(record, "perplexity").get("nll"):
        yield _one("Loss by window, some not finite", "nat", "window", probe(record, "perplexity")["nll"])
    timed = list(workloads(record))
    for workload in timed:
        where = f", {workload.run.get('prompt_length')} tokens, batch {workload.run.get('batch_size')}" * (
            len(timed) > 1
        )
        yield from _times(f"Prefill by round{where}", "", workload.prefill)
        yield from _times(f"Decode by round{where}", "/token", workload.decode)
    for part, token in PARTS.items():
        joules = per_trial(record, part, net=False)
        if joules:
            yield _one(f"Gross energy by trial, {part}", f"J/{token}", "trial", joules)


def _times(title: str, per: str, seconds: list[float]) -> Iterator[JsonObject]:
    if seconds:
        scale = scale_for(seconds, "s")
        yield _one(title, f"{scale.unit}{per}", "round", [value / scale.factor for value in seconds])


def _one(title: str, unit: str, sample: str, values: list[Any]) -> JsonObject:
    shown = _rounded(values[:MOST])
    return {"title": title, "unit": unit, "sample": sample, "values": shown, "count": len(values)}


def _rounded(values: list[Any]) -> list[float | None]:
    """To the decimals that leave the largest `DIGITS` significant ones; quick, for there are many."""
    if not finite(values):
        return [kept(value) for value in values]
    largest = max(map(abs, values), default=0.0)
    decimals = DIGITS - 1 - floor(log10(largest)) if largest else 0
    return [round(value, decimals) for value in values]
