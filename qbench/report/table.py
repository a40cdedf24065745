"""The leaderboard as plain data: which columns stand in it, and each cell's text, sort key and reason.

A column in which nothing was measured is left out and said in a note with its reason. A dimension with one
value (one model, one dtype, …) is said once above the table.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from qbench.report.digits import Scale, scale_for, significant, with_interval
from qbench.results.metrics import METRICS

Row = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """A column of the leaderboard: where it comes from and how it is headed."""

    name: str
    title: str
    low: str = ""
    high: str = ""
    """Columns of the interval's ends."""
    least: str = ""
    most: str = ""
    """Columns of the extremes, shown where there is no interval."""
    per: str = ""
    digits: int = 3

    @property
    def direction(self) -> str:
        if self.name == "perplexity_ratio":
            return "lower"
        return METRICS[self.name].direction or ""


SHOWN = (
    Shown("bits_per_weight", "Bits per weight", digits=3),
    Shown("perplexity", "Perplexity", "perplexity_low", "perplexity_high", digits=4),
    Shown("perplexity_ratio", "× base", "perplexity_ratio_low", "perplexity_ratio_high", digits=4),
    Shown("kl_divergence", "KL", "kl_divergence_low", "kl_divergence_high"),
    Shown("top1_agreement", "Top-1", "top1_agreement_low", "top1_agreement_high"),
    Shown("weight_bytes", "Weights"),
    Shown("peak_memory_bytes", "Peak memory"),
    Shown("quantize_s", "Quantize"),
    Shown("prefill_s", "Prefill", "prefill_s_low", "prefill_s_high", "prefill_s_min", "prefill_s_max"),
    Shown(
        "decode_s_per_token", "Decode", "decode_s_per_token_low", "decode_s_per_token_high",
        "decode_s_per_token_min", "decode_s_per_token_max", per="token",
    ),
    Shown("energy_j_per_token", "Energy", "energy_j_per_token_low", "energy_j_per_token_high", per="token"),
)  # fmt: skip
KERNELS = "kernels"
DIMENSIONS = {
    "suite": "Suite",
    "model": "Model",
    "dtype": "Dtype",
    "device": "Device",
    "runtime": "Runtime",
    "perplexity_protocol": "Perplexity protocol",
    KERNELS: "Kernels",
}


@dataclass(frozen=True)
class Head:
    """A column's head."""

    name: str
    title: str
    unit: str
    direction: str
    description: str


@dataclass(frozen=True)
class CellView:
    """One number: its text, the half-width or range of it, or why there is none."""

    text: str
    spread: str = ""
    reason: str = ""
    sort: str = ""
    best: bool = False
    title: str = ""


@dataclass(frozen=True)
class RowView:
    status: str
    label: str
    method: str
    params: list[str]
    dimensions: list[str]
    cells: list[CellView]
    kernels: str
    reason: str
    search: str


@dataclass(frozen=True)
class Table:
    heads: list[Head]
    dimensions: dict[str, str]
    """Of the columns that differ between rows: frame name → title."""
    with_kernels: bool
    """Whether the kernels differ, and stand in a column of their own, the last."""
    constant: dict[str, str]
    """Title → value of the dimensions with one value."""
    rows: list[RowView]
    notes: list[str]
    filters: dict[str, list[str]]


def build_table(rows: list[Row]) -> Table:
    """The leaderboard of the frame's rows (as dicts, nulls as None): by model, base first, then by bits."""
    ordered = sorted(rows, key=_order)
    constant, varying = _split_dimensions(ordered)
    with_kernels = varying.pop(KERNELS, None) is not None
    shown = [column for column in SHOWN if any(row[column.name] is not None for row in ordered)]
    scales = {column.name: _scale(column, ordered) for column in shown}
    best = _best(ordered, shown)
    views = [
        RowView(
            status=row["status"],
            label=row["label"] or row["method"],
            method=row["method"],
            params=parameters(row["params"]),
            dimensions=[row[name] or "–" for name in varying],
            cells=[_cell(row, column, scales[column.name], (index, column.name) in best) for column in shown],
            kernels=row[KERNELS] or "–",
            reason=row["reason"] or "",
            search=" ".join(
                str(row[name] or "")
                for name in ("label", "method", "params", "status", "reason", KERNELS, *varying)
            ),
        )
        for index, row in enumerate(ordered)
    ]
    heads = [
        Head(column.name, column.title, scales[column.name].unit, column.direction, _description(column))
        for column in shown
    ]
    return Table(heads, varying, with_kernels, constant, views, _notes(ordered), _filters(ordered, varying))


def parameters(params: str) -> list[str]:
    """`num_bits 4`, `group_size 64`, …; parameters that are null are left out."""
    return [
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in json.loads(params).items()
        if value is not None
    ]


def _order(row: Row) -> tuple[Any, ...]:
    bits = row["bits_per_weight"]
    place = (row["status"] != "ok", row["method"] != "none", -(bits or 0.0), row["label"] or "")
    return (row["suite"], row["model"], row["dtype"], row["device"], row["runtime"], *place)


def _split_dimensions(rows: list[Row]) -> tuple[dict[str, str], dict[str, str]]:
    constant, varying = {}, {}
    for name, title in DIMENSIONS.items():
        values = {row[name] for row in rows if row[name] is not None}
        if len(values) == 1:
            constant[title] = str(values.pop())
        elif values:
            varying[name] = title
    return constant, varying


def _scale(column: Shown, rows: list[Row]) -> Scale:
    unit = METRICS[column.name].unit if column.name in METRICS else ""
    unit = "" if unit == "bit" else unit
    scale = scale_for([row[column.name] for row in rows if row[column.name] is not None], unit)
    return scale.per(column.per) if column.per else scale


def _cell(row: Row, column: Shown, scale: Scale, best: bool) -> CellView:
    value = row[column.name]
    if value is None:
        return CellView("–", reason=row["missing"].get(column.name, row["reason"] or "not recorded"))
    low, high = _ends(row, column)
    if low is None or high is None:
        text, spread, title = significant(value / scale.factor, column.digits), "", f"{value!r}"
    else:
        factor = scale.factor
        text, spread = with_interval(value / factor, low / factor, high / factor, column.digits)
        title = f"{value!r}, {'interval' if _has_interval(row, column) else 'range'} {low!r} to {high!r}"
    return CellView(text, spread, sort=repr(float(value)), best=best, title=title)


def _ends(row: Row, column: Shown) -> tuple[float | None, float | None]:
    """Of the interval; where there is none, the extremes."""
    if _has_interval(row, column):
        return row[column.low], row[column.high]
    return (row[column.least], row[column.most]) if column.least else (None, None)


def _has_interval(row: Row, column: Shown) -> bool:
    return bool(column.low) and row[column.low] is not None and row[column.high] is not None


def _best(rows: list[Row], shown: list[Shown]) -> set[tuple[int, str]]:
    """Quantized cells that beat every other of their model beyond the intervals; nothing where they tie."""
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row["status"] == "ok" and row["method"] != "none":
            key = (
                row["suite"],
                row["run"],
                row["model"],
                row["dtype"],
                row["device"],
                row["runtime"],
                row["perplexity_protocol"],
            )
            groups[key].append(index)
    found = set()
    for members in groups.values():
        for column in filter(_can_be_best, shown):
            measured = [index for index in members if rows[index][column.name] is not None]
            ranked = sorted(measured, key=lambda index: rows[index][column.name])
            if len(ranked) > 1 and _upper(rows[ranked[0]], column) < min(
                _lower(rows[index], column) for index in ranked[1:]
            ):
                found.add((ranked[0], column.name))
    return found


def _can_be_best(column: Shown) -> bool:
    """Not what a method was told (its bits), nor what varies and was measured once: of no known spread."""
    if column.name == "bits_per_weight":
        return False
    return bool(column.low) or METRICS[column.name].kind == "deterministic"


def _upper(row: Row, column: Shown) -> float:
    high = _ends(row, column)[1]
    return float(row[column.name] if high is None else high)


def _lower(row: Row, column: Shown) -> float:
    low = _ends(row, column)[0]
    return float(row[column.name] if low is None else low)


def _description(column: Shown) -> str:
    if column.name == "perplexity_ratio":
        return "perplexity over that of the base, paired over the same windows; ± half the 95 % interval"
    text = METRICS[column.name].description
    if not column.low:
        return text
    return f"{text}; ± half the 95 % interval{', where there is none half the range' if column.least else ''}"


def _notes(rows: list[Row]) -> list[str]:
    """One note for each column that nothing was measured for."""
    notes = []
    finished = [row for row in rows if row["status"] == "ok"]
    for column in SHOWN:
        if finished and all(row[column.name] is None for row in rows):
            reasons = sorted({row["missing"].get(column.name, "not recorded") for row in finished})
            notes.append(
                f"{column.title.replace('× base', 'Perplexity × base')}: not measured ({'; '.join(reasons)})"
            )
    return notes


def _filters(rows: list[Row], varying: dict[str, str]) -> dict[str, list[str]]:
    """Values to choose from, of every dimension that has more than one."""
    names = ["status", "method", *varying]
    values = {name: sorted({row[name] for row in rows if row[name] is not None}) for name in names}
    return {name: found for name, found in values.items() if len(found) > 1}
