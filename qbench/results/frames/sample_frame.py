"""`samples`: every raw sample as one tidy pandas DataFrame in long form, a row per number.

    frame = qbench.samples("results/")
    nll = frame[frame["quantity"] == "nll"].pivot(index="index", columns="label", values="value")

Texts are categories, so that the hundreds of rows of a cell cost little more than their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qbench.results.columns.column import Column
from qbench.results.frames.identity import IDENTITY, identity
from qbench.results.frames.raw_series import Block, sample_blocks
from qbench.results.frames.typed import categorical, numbers
from qbench.results.store.folders import Store
from qbench.results.store.parallel import uncollected
from qbench.results.store.record import Record

_TEXTS = ("probe", "quantity", "item", "unit")
_OF_A_BLOCK = ("prompt_length", "batch_size")
_OF_A_VALUE = ("index", "step", "lap", "at_s", "tokens")

SAMPLE_COLUMNS = {
    column.name: column
    for column in (
        *IDENTITY,
        Column("probe", "", "perplexity, memory, latency, energy, tasks, or phases", "category"),
        Column("quantity", "", "what was measured; see the list below", "category"),
        Column("item", "", "which of several: task, part of the energy, share of a quantile", "category"),
        Column("prompt_length", "", "prompt tokens of what was timed", "Int64"),
        Column("batch_size", "", "sequences of what was timed", "Int64"),
        Column("index", "", "window, round, trial or document, from 0", "Int64"),
        Column("step", "", "within it: decode step (from 1), power sample, tick, choice", "Int64"),
        Column("lap", "", "lap of the turns that the round belongs to: neighbours in time", "Int64"),
        Column("at_s", "s", "start of the round, since the first lap; else since the work", "float64"),
        Column("tokens", "", "that the value is of: those scored in a window, say", "Int64"),
        Column("value", "", "the number, in `unit`; null where it was not finite", "float64"),
        Column("unit", "", "nat, s, B, J, W, tokens, …; empty for a count or a share", "category"),
    )
}  # fmt: skip
"""Columns of `samples`, in order."""

QUANTITIES = {
    ("perplexity", "nll"): "negative log likelihood, by window",
    ("perplexity", "kl"): "Kullback-Leibler divergence from the unquantized model, summed by window",
    ("perplexity", "agree"): "tokens that both put first, by window",
    (
        "perplexity",
        "delta_p_squared",
    ): "squared change in probability of the token that came, summed by window",
    ("perplexity", "kl_quantile"): "quantile of the divergence over tokens; `item` is the share",
    ("perplexity", "kl_max"): "its largest token",
    ("perplexity", "words"): "words of the text; protocol lm-eval",
    ("perplexity", "bytes"): "bytes of the text; protocol lm-eval",
    ("perplexity", "elapsed_s"): "seconds that scoring took",
    ("memory", "…_bytes"): "every part, as it stands in the record (docs/memory.md)",
    ("latency", "prefill_s"): "time to the first token, by round",
    ("latency", "decode_s"): "each step after it, by round",
    ("latency", "warmup_s"): "a whole round of warming up; no part of any other time",
    (
        "latency",
        "outside_…",
    ): "whole forwards with a timer around each layer, and (`inside`) the sum in layers",
    ("latency", "compile_…"): "compiling prefill and decode",
    (
        "energy",
        "tick_j",
    ): "a step of the counter, joules since the first; `at_s` is the middle of its bracket",
    ("energy", "tick_bracket_s"): "width of that bracket",
    ("energy", "power_w"): "a sample of instant power",
    ("energy", "work_s"): "seconds of the work in a window",
    ("energy", "gross_j"): "the counter's difference over a window",
    ("energy", "window_s"): "seconds between the steps that enclose it",
    ("energy", "end_w"): "power right after the work",
    ("energy", "idle_w"): "power at rest; in records of before lead and tail were kept",
    ("energy", "sampling_s"): "seconds that reading power took",
    ("energy", "throttle"): "NVML's reasons for clocks held down, as bits",
    ("tasks", "metric,filter"): "what a document gave under lm-eval's metric; `item` is the task",
    ("tasks", "log_likelihood"): "of a document's request; `step` is the choice",
    ("phases", "start, load, …"): "seconds of a phase of the worker",
}
"""(probe, quantity) → what it is."""


def samples(
    path: str | Path = "results/", runs: Literal["newest", "all"] = "newest", *, strict: bool = True
) -> pd.DataFrame:
    """Every raw sample of the newest run of each suite, or of all runs; a row per number.

    `path`, `runs` and `strict` as of `qbench.load`. Columns: `SAMPLE_COLUMNS` and docs/columns.md; the unit
    of `value` stands in its row, that of the other columns in `frame.attrs["units"]`. A cell without samples
    (a failed one) has no row; what was left out is named in `frame.attrs["problems"]`.
    """
    store = Store(Path(path), strict=strict)
    with uncollected():
        frame = samples_of(record for run in store.chosen(runs) for record in store.records(run))
    frame.attrs["problems"] = list(store.problems)
    return frame


def samples_of(records: Iterable[Record]) -> pd.DataFrame:
    """The frame of these records, in their order. Each is let go as soon as its numbers are taken."""
    identities, owners, blocks = list[dict[str, Any]](), list[int](), list[Block]()
    for number, record in enumerate(records):
        identities.append(identity(record))
        found = [block for block in sample_blocks(record) if block.values]
        blocks += found
        owners += [number] * len(found)
    return _framed(identities, np.asarray(owners, dtype=np.int64), blocks)


def _framed(identities: list[dict[str, Any]], owners: NDArray[np.int64], blocks: list[Block]) -> pd.DataFrame:
    sizes = np.fromiter((len(block.values) for block in blocks), np.int64, len(blocks))
    data: dict[str, Any] = {}
    for column in IDENTITY:
        values = [one[column.name] for one in identities]
        data[column.name] = _repeated(values, column.dtype, owners.repeat(sizes))
    places = np.arange(len(blocks)).repeat(sizes)
    for name in _TEXTS:
        data[name] = _repeated([getattr(block, name) for block in blocks], "category", places)
    for name in _OF_A_BLOCK:
        data[name] = _repeated([getattr(block, name) for block in blocks], "Int64", places)
    for name in _OF_A_VALUE:
        lists = (_listed(getattr(block, name), size) for block, size in zip(blocks, sizes, strict=True))
        data[name] = numbers(list(chain.from_iterable(lists)), SAMPLE_COLUMNS[name].dtype)
    data["value"] = numbers(list(chain.from_iterable(block.values for block in blocks)), "float64")
    frame = pd.DataFrame({name: data[name] for name in SAMPLE_COLUMNS})
    frame.attrs["units"] = {name: column.unit for name, column in SAMPLE_COLUMNS.items() if column.unit}
    frame.attrs["problems"] = []
    return frame


def _repeated(values: Sequence[Any], dtype: str, places: NDArray[np.int64]) -> Any:
    """`values[places]` as a column; texts by their codes, so that no text is copied."""
    if dtype != "category":
        return pd.array(values, dtype="Int64").take(places)
    known = categorical(values)
    return pd.Categorical.from_codes(known.codes.take(places), dtype=known.dtype)


def _listed(values: Sequence[Any] | None, size: int) -> Sequence[Any]:
    return [None] * size if values is None else values
