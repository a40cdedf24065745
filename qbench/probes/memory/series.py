"""Raw samples of memory: every part in bytes."""

from __future__ import annotations

from collections.abc import Iterator

from qbench.results.columns.raw_series import RawSeries
from qbench.results.store.lookup import number, probe
from qbench.results.store.record import Record

QUANTITIES = {"…_bytes": "every part, as it stands in the record (docs/memory.md)"}
"""Quantity → meaning."""


def series(record: Record) -> Iterator[RawSeries]:
    for name, value in probe(record, "memory").items():
        if name.endswith("_bytes") and number(value) is not None:
            yield RawSeries("memory", name, "B", [value])
