"""`load`: a tree of results as one tidy pandas DataFrame, a row per cell, failures included.

The base of a cell is the `none` cell of the same run, model, dtype and device. Ratios of perplexity are
paired, and null where the two were not scored on the very same windows. Intervals of all cells with the
same windows are computed at once (see `statistics.py`), so that thousands of cells stay cheap.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from qbench.errors import ResultsError, did_you_mean
from qbench.results.base import Base, Key, base_of, find_bases
from qbench.results.columns import columns
from qbench.results.metrics import METRICS
from qbench.results.record import Record
from qbench.results.samples import kernels, missing_reason, probe, windows
from qbench.results.statistics import log_intervals
from qbench.results.store import MANIFEST, Run, Store

Row = dict[str, Any]


def load(
    path: str | Path = "results/", runs: Literal["newest", "all"] = "newest", *, strict: bool = True
) -> pd.DataFrame:
    """One row per cell of the newest run of each suite, or of all runs.

    `path` is a tree of results, a suite's folder or a run's. Units stand in `frame.attrs["units"]`, the
    dictionary of columns in `columns()`. A file that cannot be read raises a ResultsError, or with
    `strict=False` is left out and named in `frame.attrs["problems"]`.
    """
    return from_store(Store(Path(path), strict=strict), runs)


def from_store(store: Store, runs: str = "newest") -> pd.DataFrame:
    """The frame of the store's newest run of each suite, or of all runs; ResultsError where it has none."""
    frame = from_records(record for run in chosen_runs(store, runs) for record in store.records(run))
    frame.attrs["problems"] = list(store.problems)
    return frame


def chosen_runs(store: Store, runs: str) -> list[Run]:
    """What `newest` or `all` stands for in this store."""
    if runs not in ("newest", "all"):
        raise ResultsError(f"runs = {runs!r}; {did_you_mean(runs, ['newest', 'all'])}")
    chosen = store.newest() if runs == "newest" else store.runs()
    if not chosen:
        raise ResultsError(
            f"no runs in {store.root}: neither it nor its folders hold a {MANIFEST} or a record"
        )
    return chosen


def from_records(records: Iterable[Record]) -> pd.DataFrame:
    """The frame of these records, in their order; ratios relate to bases among them."""
    known = list(records)
    bases = find_bases(known)
    rows = [_row(record, base_of(record, bases)) for record in known]
    _add_intervals(known, rows, bases)
    for record, row in zip(known, rows, strict=True):
        row["missing"] = json.dumps(_missing(record, row), ensure_ascii=False)
    return _typed(rows)


def _row(record: Record, base: Base | None) -> Row:
    cell = record.cell
    row: Row = {
        "suite": record.suite,
        "run": record.run,
        "cell_id": cell.id,
        "status": record.status,
        "reason": record.reason,
        "model": cell.model.name,
        "method": cell.method,
        "label": cell.label,
        "params": json.dumps(cell.params, sort_keys=True, ensure_ascii=False),
        "dtype": cell.dtype,
        "device": cell.device,
        "repetition": cell.repetition,
        "perplexity_protocol": protocol(record),
        "kernels": ", ".join(kernels(record)) or None,
        "energy_reason": _energy_reason(record),
        "started_at": record.started_at or None,
        "ended_at": record.ended_at or None,
    }
    row.update({name: metric.value(record) for name, metric in METRICS.items()})
    row.update(_relative(row, base))
    return row


def protocol(record: Record) -> str | None:
    """`gptq, 512 tokens, builtin:persuasion`: what has to be equal before two perplexities are compared."""
    found = probe(record, "perplexity")
    if not found:
        return None
    corpus = found.get("corpus") or {}
    return f"{found.get('protocol')}, {found.get('seqlen')} tokens, {corpus.get('name')}"


def _energy_reason(record: Record) -> str | None:
    return None if probe(record, "energy") else missing_reason(record, "energy", "energy_j_per_token")


def _relative(row: Row, base: Base | None) -> Row:
    if base is None:
        return {}
    return {
        "base_cell_id": base.cell_id,
        "weight_bytes_ratio": _quotient(row["weight_bytes"], base.weight_bytes),
        "prefill_speedup": _quotient(base.prefill_s, row["prefill_s"]),
        "decode_speedup": _quotient(base.decode_s_per_token, row["decode_s_per_token"]),
    }


def _quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _add_intervals(records: list[Record], rows: list[Row], bases: dict[Key, list[Base]]) -> None:
    """Fills perplexity's and its ratio's columns, all cells with the same tokens per window at once."""
    groups: dict[tuple[float, ...], list[tuple[int, list[float], list[float] | None]]] = defaultdict(list)
    for index, record in enumerate(records):
        measured = windows(record)
        if measured:
            nll, tokens = measured
            base = base_of(record, bases)
            paired = base.nll if base is not None and base.same_windows(record) else None
            groups[tuple(tokens)].append((index, nll, paired))
    for key, members in groups.items():
        tokens_of_window = np.asarray(key, dtype=np.float64)
        nlls = np.asarray([nll for _, nll, _ in members], dtype=np.float64)
        _fill([rows[index] for index, _, _ in members], "perplexity", nlls, tokens_of_window)
        related = [place for place, (_, _, paired) in enumerate(members) if paired is not None]
        if related:
            base_nlls = np.asarray([members[place][2] for place in related], dtype=np.float64)
            chosen = [rows[members[place][0]] for place in related]
            _fill(chosen, "perplexity_ratio", nlls[related] - base_nlls, tokens_of_window)


def _fill(rows: list[Row], name: str, nll: Any, tokens: Any) -> None:
    with np.errstate(over="ignore"):
        ends = [np.exp(end) for end in log_intervals(nll, tokens)]
    for suffix, values in zip(("", "_low", "_high"), ends, strict=True):
        for row, value in zip(rows, values, strict=True):
            row[name + suffix] = float(value) if np.isfinite(value) else None


def _missing(record: Record, row: Row) -> dict[str, str]:
    if record.status != "ok":  # its `reason` says it for the whole row
        return {}
    reasons = {name: metric.reason(record) for name, metric in METRICS.items() if row.get(name) is None}
    if row.get("perplexity") is not None:
        if row.get("perplexity_low") is None:
            reasons["perplexity_low"] = reasons["perplexity_high"] = "one window says nothing of the spread"
        if row.get("perplexity_ratio") is None:
            reasons["perplexity_ratio"] = (
                "the base was scored on other windows"
                if row.get("base_cell_id")
                else "no ok `none` cell of the same run, model, dtype and device"
            )
    return reasons


def _typed(rows: list[Row]) -> pd.DataFrame:
    known = columns()
    data = {name: _series([row.get(name) for row in rows], column.dtype) for name, column in known.items()}
    frame = pd.DataFrame(data)
    frame.attrs["units"] = {name: column.unit for name, column in known.items() if column.unit}
    frame.attrs["problems"] = []
    return frame


def _series(values: list[Any], dtype: str) -> pd.Series[Any]:
    if dtype.startswith("datetime64"):
        times = pd.to_datetime(pd.Series(values, dtype="object"), utc=True, format="ISO8601")
        return times.dt.as_unit("us")
    if dtype == "Int64":
        return pd.Series(
            pd.array([None if value is None else round(value) for value in values], dtype="Int64")
        )
    if dtype == "category":
        return pd.Series(pd.Categorical(values))
    return pd.Series(values, dtype=dtype)
