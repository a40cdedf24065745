"""Raw samples of latency: seconds by round and decode step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qbench.probes.latency.workloads import workloads
from qbench.results.columns.raw_series import Numbers, Places, RawSeries
from qbench.results.store.record import Record

QUANTITIES = {
    "prefill_s": "time to the first token, by round",
    "decode_s": "each step after it, by round",
    "warmup_s": "a whole round of warming up; no part of any other time",
    "outside_…": "whole forwards with a timer around each layer, and (`inside`) the sum in layers",
    "compile_…": "compiling prefill and decode",
}
"""Quantity → meaning."""


def series(record: Record) -> Iterator[RawSeries]:
    """Seconds of prefills, decode steps, warm-up, non-layer time and compiling, by workload."""
    for workload in workloads(record):
        run = workload.run
        yield _rounds(run, "prefill_s", run.get("prefill_s", []), run.get("lap"), run.get("start_s"))
        yield _rounds(run, "decode_s", run.get("decode_s", []), run.get("lap"), run.get("start_s"))
        yield _rounds(run, "warmup_s", (run.get("warmup") or {}).get("round_s", []))
        for section in ("outside", "compile"):
            for name, seconds in (run.get(section) or {}).items():
                if isinstance(seconds, list):
                    yield _rounds(run, f"{section}_{name}", seconds)


def _rounds(
    run: Mapping[str, Any],
    quantity: str,
    seconds: Sequence[Any],
    lap: Places | None = None,
    at_s: Numbers | None = None,
) -> RawSeries:
    """Raw series of rounds: one time each, or a list of those of its decode steps."""
    sizes = [len(one) if isinstance(one, list) else 1 for one in seconds]
    nested = any(isinstance(one, list) for one in seconds)
    values = [value for one in seconds for value in one] if nested else seconds
    steps = [step for size in sizes for step in range(1, size + 1)] if nested else None

    def spread(by_round: Sequence[Any] | None) -> list[Any] | None:
        if by_round is None:
            return None
        return [value for value, size in zip(by_round, sizes, strict=True) for _ in range(size)]

    return RawSeries(
        "latency", quantity, "s", values, None, run["prompt_length"], run["batch_size"],
        spread(range(len(sizes))), steps, spread(lap), spread(at_s),
    )  # fmt: skip
