"""A row of the frame from one record alone: identity, every metric, and why metrics are null. No pandas.

What relates a row to others (ratios, speedups, intervals over windows) is added by `frame.py`, once all rows
of the folder stand.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from qbench.probes.energy import context as energy_facts
from qbench.probes.latency.speedups import TIMES
from qbench.probes.tasks.metrics import task_accuracy_stderr, tasks_text
from qbench.results.columns.layers import kernels
from qbench.results.frames import missing
from qbench.results.frames.base import Scored, scored
from qbench.results.store.lookup import missing_reason, probe
from qbench.results.store.record import Record, reading
from qbench.results.table.metrics import values

Row = dict[str, Any]
_PARAMS = json.JSONEncoder(sort_keys=True, ensure_ascii=False)
_RELATED = ("weight_bytes", *TIMES.values())


def row_of(record: Record) -> tuple[Row, Scored]:
    """The record's row, and what relating it to others needs.

    `missing` is a dict of reasons, one for all records that lack the same: it must not be changed.
    ResultsError names a record that holds, deeper than it was checked when it was read, what nobody wrote.
    """
    with reading(record):
        row = _row(record)
        return row, scored(record, row["cell_id"], {name: row[name] for name in _RELATED})


def _row(record: Record) -> Row:
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
        "params": _PARAMS.encode(cell.params),
        "dtype": cell.dtype,
        "device": cell.device,
        "runtime": cell.runtime,
        "repetition": cell.repetition,
        "perplexity_protocol": protocol(record),
        "task_accuracy_stderr": task_accuracy_stderr(record),
        "tasks": tasks_text(record),
        "kernels": ", ".join(kernels(record)) or None,
        "energy_reason": _energy_reason(record),
        **energy_facts.texts(record),
        "started_at": record.started_at or None,
        "ended_at": record.ended_at or None,
    }
    found, reasons = values(record)
    row |= found
    if row["task_accuracy_stderr"] is None and record.status == "ok":
        reasons["task_accuracy_stderr"] = reasons.get("task_accuracy", missing.NO_STDERR)
    row["missing"] = _one_of_each(tuple(reasons.items()))
    return row


@functools.lru_cache(maxsize=1024)
def _one_of_each(reasons: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return dict(reasons)


def protocol(record: Record) -> str | None:
    """`gptq, 512 tokens, builtin:persuasion`: what has to be equal before two perplexities are compared.

    `strided, 512 tokens, test.txt 1f3870be, stride 256`: a text of the user's own has the first digits of its
    hash, since two files may share a name.
    """
    found = probe(record, "perplexity")
    if not found:
        return None
    kind, seqlen = found.get("protocol"), found.get("seqlen")
    stride = f", stride {found.get('stride') or seqlen}" if kind == "strided" else ""
    return f"{kind}, {seqlen} tokens, {_text(found.get('corpus') or {})}{stride}"


def _text(corpus: Mapping[str, Any]) -> str:
    name, digits = str(corpus.get("name")), str(corpus.get("sha256") or "")[:8]
    return name if name.startswith("builtin:") or not digits else f"{name} {digits}"


def _energy_reason(record: Record) -> str | None:
    return None if probe(record, "energy") else missing_reason(record, "energy", "energy_j_per_token")
