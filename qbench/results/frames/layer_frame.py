"""`layers`: the per-layer table of every cell as one tidy pandas DataFrame, a row per cell and layer.

frame = qbench.layers("results/")
frame.pivot_table(index="name", columns="label", values="weight_error")
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from qbench.results.columns.column import Column, Row
from qbench.results.frames.typed import read_frame, typed
from qbench.results.store.record import Record
from qbench.results.table.columns import IDENTITY, identity

PARTS = {
    "codes": "codes at their true width", "scales": "scales", "zeros": "zero points",
    "permutation": "order of the inputs, where it was changed",
    "input_scale": "static scales of the inputs", "outliers": "columns that were kept in higher precision",
    "bias": "bias, which is not quantized", "prepared": "copies that a kernel made for itself",
}  # fmt: skip
"""Parts of a layer's `bytes`, a column each."""

LAYER_COLUMNS = {
    column.name: column
    for column in (
        *IDENTITY,
        Column("name", "", "the layer's name in the model", "category"),
        Column("kind", "", "class of the layer that was replaced", "category"),
        Column("rows", "", "outputs: rows of the weight", "Int64"),
        Column("cols", "", "inputs: columns of the weight", "Int64"),
        Column("code", "", "kind of the codes: int, or a float format", "category"),
        Column("num_bits", "bit", "of a code", "Int64"),
        Column("strategy", "", "what shares a scale: tensor, channel, group, …", "category"),
        Column("group_size", "", "inputs that share a scale; null without groups", "Int64"),
        Column("activations", "", "how inputs are rounded: none, dynamic, static", "category"),
        Column("params", "", "every parameter of the method for this layer, as JSON", "category"),
        Column("requested", "", "the kernel that was asked for", "category"),
        Column("kernels", "", "the kernels that ran, comma separated", "category"),
        Column("executed", "", "the same as JSON: by kernel the least and most rows, and calls", "category"),
        Column("fallback_reason", "", "why another kernel ran than was asked for", "category"),
        Column("bits_per_weight", "bit", "true bits per weight, scales and zeros included", "float64"),
        *(Column(f"{name}_bytes", "B", what, "Int64") for name, what in PARTS.items()),
        Column("weight_error", "", "relative error ‖w − ŵ‖ / ‖w‖ of the weight", "float64"),
        Column("calibration_tokens", "", "tokens of calibration that the method saw here", "Int64"),
        Column("notes", "", "what the method says of this layer, as JSON", "category"),
    )
}  # fmt: skip
"""Columns of `layers`, in order."""

_PLAIN = (
    "name", "kind", "code", "num_bits", "strategy", "group_size", "activations", "requested",
    "fallback_reason", "bits_per_weight", "weight_error", "calibration_tokens",
)  # fmt: skip
"""Columns that stand in a layer under the same name."""


def layers(
    path: str | Path = "results/", runs: Literal["newest", "all"] = "newest", *, strict: bool = True
) -> pd.DataFrame:
    """One row per quantized layer of the newest run of each suite, or of all runs.

    `path`, `runs` and `strict` as of `qbench.load`. Columns: `LAYER_COLUMNS` and docs/columns.md; units in
    `frame.attrs["units"]`. A cell without quantized layers (`none`, a failed one) has no row; what was left
    out is named in `frame.attrs["problems"]`.
    """
    return read_frame(path, runs, strict, layers_of)


def layers_of(records: Iterable[Record]) -> pd.DataFrame:
    """The frame of these records, in their order."""
    rows = [row for record in records for row in layer_rows(record)]
    return typed({name: [row[name] for row in rows] for name in LAYER_COLUMNS}, LAYER_COLUMNS)


def layer_rows(record: Record) -> list[Row]:
    """A row for each of the record's layers: column → value, None for null."""
    own = identity(record)
    return [{**own, **_facts(layer)} for layer in record.layers]


def _facts(layer: Mapping[str, Any]) -> Row:
    shape, parts, executed = (
        layer.get("shape") or (None, None),
        layer.get("bytes") or {},
        layer.get("executed"),
    )
    return {
        **{name: layer.get(name) for name in _PLAIN}, "rows": shape[0], "cols": shape[1],
        "params": _json(layer.get("params")),
        "kernels": ", ".join(dict.fromkeys(run["kernel"] for run in executed or ())) or None,
        "executed": _json(executed), **{f"{name}_bytes": parts.get(name) for name in PARTS},
        "notes": _json(layer.get("notes")),
    }  # fmt: skip


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)
