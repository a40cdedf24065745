"""A row of the frame from one record alone: identity, every metric, and why metrics are null. No pandas.

Numbers that relate a row to others (ratios, speedups, intervals over windows) are added by `frame.py`, once
all rows of the folder stand.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from qbench.results.frames.base import Related, related_of
from qbench.results.store.record import Record, reading
from qbench.results.table.metrics import TEXTS, values

Row = dict[str, Any]
_PARAMS = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


def row_of(record: Record) -> tuple[Row, Related]:
    """The record's row, and what relating it to others needs.

    `missing` is a dict of reasons, one for all records that lack the same: it must not be changed.
    ResultsError names a record that holds, deeper than it was checked when it was read, what nobody wrote.
    """
    with reading(record):
        row = _row(record)
        return row, related_of(record, row["cell_id"], row)


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
        "started_at": record.started_at or None,
        "ended_at": record.ended_at or None,
    }
    row |= {text.name: text.value(record) for text in TEXTS}
    found, reasons = values(record)
    row |= found
    row["missing"] = _interned(tuple(reasons.items()))
    return row


@functools.lru_cache(maxsize=1024)
def _interned(reasons: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return dict(reasons)
