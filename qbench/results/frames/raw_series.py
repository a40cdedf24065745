"""The raw samples of one record, quantity by quantity: what stands in its JSON, under one shape.

A `Block` is one quantity: what is equal for all of its values once, and what differs from value to value as
lists beside them. Nothing is computed here but the middle of a bracket; `sample_frame.py` makes rows of
blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qbench.probes.latency.metrics import workloads
from qbench.probes.quality.metrics import divergence
from qbench.results.store.lookup import number, probe
from qbench.results.store.record import Record

Numbers = Sequence[float | None]
Places = Sequence[int | None]


@dataclass(frozen=True, slots=True)
class Block:
    """One quantity of one record. The lists are as long as `values`; None is a list of nulls."""

    probe: str
    """The probe, or `phases`."""
    quantity: str
    unit: str
    values: Numbers
    item: str | None = None
    """Which of several: the task, the part of an energy measurement, the share of a quantile."""
    prompt_length: int | None = None
    batch_size: int | None = None
    index: Places | None = None
    """Window, round, trial or document, from 0."""
    step: Places | None = None
    """Within it: decode step from 1, power sample, tick, choice."""
    lap: Places | None = None
    at_s: Numbers | None = None
    tokens: Numbers | None = None


def sample_blocks(record: Record) -> Iterator[Block]:
    """Every raw number of the record's samples and phases, in the order of the probes."""
    yield from _perplexity(record)
    yield from _memory(record)
    yield from _latency(record)
    yield from _energy(record)
    yield from _tasks(record)
    for name, seconds in record.phases.items():
        yield Block("phases", name, "s", [seconds])


def _perplexity(record: Record) -> Iterator[Block]:
    found, apart = probe(record, "perplexity"), divergence(record)
    if nll := found.get("nll"):
        yield Block("perplexity", "nll", "nat", nll, index=range(len(nll)), tokens=found.get("tokens"))
    for name, unit in (("kl", "nat"), ("agree", "tokens"), ("delta_p_squared", "")):
        if sums := apart.get(name):
            yield Block("perplexity", name, unit, sums, index=range(len(sums)), tokens=apart["scored"])
    for share, value in (apart.get("kl_quantiles") or {}).items():
        yield Block("perplexity", "kl_quantile", "nat", [value], item=share)
    singles = (("kl_max", "nat", apart), ("words", "words", found), ("bytes", "B", found))
    for name, unit, where in (*singles, ("elapsed_s", "s", found)):
        if (value := number(where.get(name))) is not None:
            yield Block("perplexity", name, unit, [value])


def _memory(record: Record) -> Iterator[Block]:
    for name, value in probe(record, "memory").items():
        if name.endswith("_bytes") and number(value) is not None:
            yield Block("memory", name, "B", [value])


def _latency(record: Record) -> Iterator[Block]:
    for workload in workloads(record):
        run = workload.run
        where: dict[str, Any] = {"prompt_length": run["prompt_length"], "batch_size": run["batch_size"]}
        rounds: dict[str, Any] = {"lap": run.get("lap"), "at_s": run.get("start_s")}
        yield _flat("prefill_s", run.get("prefill_s", []), **where, **rounds)
        yield _flat("decode_s", run.get("decode_s", []), **where, **rounds)
        yield _flat("warmup_s", (run.get("warmup") or {}).get("round_s", []), **where)
        for section in ("outside", "compile"):
            for name, seconds in (run.get(section) or {}).items():
                if isinstance(seconds, list):
                    yield _flat(f"{section}_{name}", seconds, **where)


def _flat(
    quantity: str,
    seconds: Sequence[Any],
    prompt_length: int,
    batch_size: int,
    lap: Places | None = None,
    at_s: Numbers | None = None,
) -> Block:
    """Of rounds: one time each, or a list of those of its decode steps."""
    sizes = [len(one) if isinstance(one, list) else 1 for one in seconds]
    nested = any(isinstance(one, list) for one in seconds)
    values = [value for one in seconds for value in one] if nested else seconds
    steps = [step for size in sizes for step in range(1, size + 1)] if nested else None

    def spread(by_round: Sequence[Any] | None) -> list[Any] | None:
        if by_round is None:
            return None
        return [value for value, size in zip(by_round, sizes, strict=True) for _ in range(size)]

    return Block(
        "latency", quantity, "s", values, None, prompt_length, batch_size,
        spread(range(len(sizes))), steps, spread(lap), spread(at_s),
    )  # fmt: skip


_ENERGY = {
    "work_s": "s", "window_s": "s", "gross_j": "J", "end_w": "W", "idle_w": "W", "sampling_s": "s",
    "throttle": "bits",
}  # fmt: skip
"""Of a window, or a list by trial: name → unit."""


def _energy(record: Record) -> Iterator[Block]:
    found = probe(record, "energy")
    if found.get("calibration"):
        yield from _ticks("calibration", [found["calibration"]], None)
    for when, window in (found.get("idle") or {}).items():
        yield from _windows(f"idle {when}", {name: [value] for name, value in window.items()}, found)
    for part in ("prefill", "decode"):
        if found.get(part):
            yield from _windows(part, found[part], found)


def _windows(item: str, part: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Block]:
    """Of one part: the trials' windows, the counter's steps and the samples of power."""
    tokens = part.get("tokens") if item in ("prefill", "decode") else None
    for name, unit in _ENERGY.items():
        values = part.get(name)
        if isinstance(values, list) and any(value is not None for value in values):
            counted = None if tokens is None else [tokens] * len(values)
            yield Block("energy", name, unit, values, item, index=range(len(values)), tokens=counted)
    yield from _ticks(item, part.get("ticks") or [], tokens)
    times, watts = part.get("power_s") or [], part.get("power_w") or []
    for trial, (at_s, power_w) in enumerate(zip(times, watts, strict=True)):
        if power_w:
            places = range(len(power_w))
            yield Block("energy", "power_w", "W", power_w, item, None, None, [trial] * len(power_w), places,
                        at_s=at_s)  # fmt: skip


def _ticks(item: str, windows: Sequence[Any], tokens: float | None) -> Iterator[Block]:
    """Steps of the counter: joules at the middle of the bracket in which the step fell, and its width."""
    for trial, ticks in enumerate(windows):
        if not ticks:
            continue
        index, steps = [trial] * len(ticks), range(len(ticks))
        middle = [(after_s + by_s) / 2 for after_s, by_s, _ in ticks]
        joules, widths = [one[2] for one in ticks], [by_s - after_s for after_s, by_s, _ in ticks]
        for name, unit, values in (("tick_j", "J", joules), ("tick_bracket_s", "s", widths)):
            yield Block("energy", name, unit, values, item, index=index, step=steps, at_s=middle)


def _tasks(record: Record) -> Iterator[Block]:
    for task in probe(record, "tasks").get("tasks") or ():
        for metric, values in (task.get("items") or {}).items():
            yield _documents(task["name"], metric, "", values)
        if task.get("log_likelihoods"):
            yield _documents(task["name"], "log_likelihood", "nat", task["log_likelihoods"])


def _documents(task: str, quantity: str, unit: str, values: Sequence[Any]) -> Block:
    """By document: a number, or a list of numbers, whose places are the steps."""
    rows = [
        (document, step if isinstance(value, list) else None, one)
        for document, value in enumerate(values)
        for step, one in enumerate(value if isinstance(value, list) else [value])
    ]
    documents, steps, numbers = ([row[place] for row in rows] for place in range(3))
    return Block("tasks", quantity, unit, numbers, task, index=documents, step=steps)
