"""Every column that the leaderboard can show: its title, its group, its interval, and which come first.

The frame names its columns (`qbench.results.table.columns`); here they get a title, a group, companions.
A column that somebody adds to the frame appears here by itself, titled by its name.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass

from qbench.results.table.columns import columns
from qbench.results.table.metrics import METRICS

DIMENSIONS = {
    "suite": "Suite",
    "run": "Run",
    "model": "Model",
    "dtype": "Dtype",
    "device": "Device",
    "runtime": "Runtime",
    "repetition": "Repetition",
    "perplexity_protocol": "Perplexity protocol",
    "kernels": "Kernels",
}
"""What cells differ in, besides the method."""
GROUPS = ("Quality", "Tasks", "Memory", "Time", "Energy", "Facts")
HIDDEN = ("label", "missing", "tasks")
"""The head of every row, the reasons of its nulls, and JSON; the Parquet file holds them."""
_GROUP_OF_SOURCE = {
    "layers": "Quality",
    "perplexity": "Quality",
    "tasks": "Tasks",
    "memory": "Memory",
    "phases": "Time",
    "latency": "Time",
    "energy": "Energy",
    "model": "Energy",
}
_GROUP_OF_START = {
    "perplexity_protocol": "Facts",
    "perplexity": "Quality",
    "kl_": "Quality",
    "top1_": "Quality",
    "task_": "Tasks",
    "weight_": "Memory",
    "prefill_": "Time",
    "decode_": "Time",
    "energy_": "Energy",
}
_TITLES = {
    "bits_per_weight": "Bits per weight",
    "perplexity": "Perplexity",
    "perplexity_ratio": "× base",
    "kl_divergence": "KL",
    "top1_agreement": "Top-1",
    "task_accuracy": "Task accuracy",
    "weight_bytes": "Weights",
    "peak_memory_bytes": "Peak memory",
    "quantize_s": "Quantize",
    "prefill_s": "Prefill",
    "decode_s_per_token": "Decode",
    "energy_j_per_token": "Energy",
    "weight_bytes_ratio": "Weights × base",
    "params": "Parameters",
    "cell_id": "Cell",
    "base_cell_id": "Base cell",
    "started_at": "Started",
    "ended_at": "Ended",
}
_DIGITS = {"bits_per_weight": 3, "perplexity": 4, "perplexity_ratio": 4}
_DIRECTIONS = {"perplexity_ratio": "lower", "weight_bytes_ratio": "lower", "prefill_speedup": "higher",
               "decode_speedup": "higher"}  # fmt: skip
_ENDS = {
    "_low": ", low end",
    "_high": ", high end",
    "_min": ", fastest",
    "_max": ", slowest",
    "_stderr": ", ± error",
}
_UNITS = {"s", "j", "w", "c", "pct", "bytes"}
_WORDS = {"kv": "KV", "kl": "KL", "gpu": "GPU", "cv": "CV", "nll": "NLL", "flops": "FLOPS", "rms": "RMS",
          "dram": "DRAM", "top1": "top-1"}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A column of the leaderboard: where it comes from and how it is headed."""

    name: str
    title: str
    group: str = "Facts"
    number: bool = True
    unit: str = ""
    direction: str = ""
    description: str = ""
    low: str = ""
    high: str = ""
    """Columns of the interval's ends."""
    least: str = ""
    most: str = ""
    """Columns of the extremes, shown where there is no interval."""
    stderr: str = ""
    """Column of the standard error, where that is what the frame has."""
    of: str = ""
    """Of an end of an interval or of a range: the column that it belongs to, whose unit and digits it has."""
    per: str = ""
    digits: int = 3

    @functools.cached_property
    def companions(self) -> tuple[str, ...]:
        """Columns that say how sure this one's numbers are."""
        return tuple(filter(None, (self.low, self.high, self.least, self.most, self.stderr)))


@functools.cache
def catalogue() -> dict[str, Shown]:
    """Every column of the frame but the hidden ones, by name, in the frame's order."""
    return {name: shown_as(name) for name in columns() if name not in HIDDEN}


_DEFAULT = (
    "bits_per_weight", "perplexity_ratio", "kl_divergence", "weight_bytes", "decode_s_per_token", "prefill_s",
    "perplexity", "top1_agreement", "task_accuracy", "peak_memory_bytes", "quantize_s", "energy_j_per_token",
)  # fmt: skip


@functools.cache
def shown_as(name: str) -> Shown:
    """How a column of the frame is headed and written, hidden ones too; KeyError for any other name."""
    known, metric = columns(), METRICS.get(name)
    column = known[name]
    ended = next((end for end in _ENDS if name.endswith(end) and name.removesuffix(end) in known), "")
    companion = {end: name + end if name + end in known else "" for end in _ENDS}
    description = column.description.replace("`", "")
    if companion["_low"] or companion["_stderr"]:
        description += "; ± half the 95 % interval, its ends where it is lopsided"
        description += ", where there is none half the range" if companion["_min"] else ""
    return Shown(
        name=name,
        title=_title(name, known),
        group=_group(name),
        number=column.dtype in ("float64", "Int64") and name not in DIMENSIONS,
        unit="" if column.unit == "bit" else column.unit,
        direction=_DIRECTIONS.get(name, (metric.direction if metric else None) or ""),
        description=description,
        low=companion["_low"],
        high=companion["_high"],
        least=companion["_min"],
        most=companion["_max"],
        stderr=companion["_stderr"],
        of=name.removesuffix(ended) if ended else "",
        per="token" if "_per_token" in name and column.unit in ("s", "J") else "",
        digits=_DIGITS.get(name, metric.digits if metric else 3),
    )


def _group(name: str) -> str:
    metric = METRICS.get(name)
    if metric:
        return "Facts" if metric.kind == "fact" else _GROUP_OF_SOURCE.get(metric.source, "Facts")
    return next((group for start, group in _GROUP_OF_START.items() if name.startswith(start)), "Facts")


def _title(name: str, known: Collection[str]) -> str:
    """`KV cache per token` of `kv_cache_bytes_per_token`: the unit stands in the head's second line."""
    if name in _TITLES or name in DIMENSIONS:
        return _TITLES.get(name) or DIMENSIONS[name]
    for end, said in _ENDS.items():
        if name.removesuffix(end) != name and name.removesuffix(end) in known:
            return _title(name.removesuffix(end), known).replace("× base", "Perplexity × base") + said
    parts = name.removesuffix("_per_s").split("_")
    words = [_WORDS.get(word, word) for word in parts if word not in _UNITS]
    title = " ".join(words)
    return title[:1].upper() + title[1:]


SHOWN = tuple(catalogue()[name] for name in _DEFAULT)
"""Those that stand in the table until the reader chooses others; first what answers: what it costs in quality
and what it saves in memory and time, for a window seldom holds all of them."""
