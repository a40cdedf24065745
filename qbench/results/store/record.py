"""Outcome of one cell as it is stored: the only data that crosses from measuring to reading.

Raw samples are stored and every statistic is computed on reading, so that a better statistic needs no
new measurement. A record has a schema number; `migrate` brings older ones up.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Self, get_args

from qbench.cell import Cell
from qbench.errors import ResultsError
from qbench.json_object import JsonObject
from qbench.results.store.shapes import misfit

SCHEMA = 1

Status = Literal["ok", "failed", "oom", "timeout", "skipped"]
_STATUSES = get_args(Status)


@dataclass(frozen=True)
class Record:
    """One cell's outcome.

    `samples` holds one entry per probe: `{"unit": …, …raw samples…}`, or `{"value": None, "reason": …}`
    where the probe had nothing to measure with. `layers` holds one entry per targeted layer.
    """

    cell: Cell
    suite: str
    run: str
    status: Status
    reason: str | None = None
    """Reason of every status but `ok`; one line."""
    error: dict[str, str] | None = None
    """`type`, `message`, `traceback` of the exception behind a `failed` or `oom`."""
    started_at: str = ""
    """ISO 8601, UTC."""
    ended_at: str = ""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds by phase: start, load, quantize, perplexity, …"""
    environment: JsonObject = field(default_factory=dict)
    """Facts of this cell's process: pid, threads, load average, device, peak RSS."""
    model: JsonObject = field(default_factory=dict)
    """Facts of the loaded model: class, parameters, layers, shapes, tied head, vocabulary."""
    layers: list[JsonObject] = field(default_factory=list)
    samples: dict[str, JsonObject] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_dict(self) -> JsonObject:
        """The record as JSON values, with its cell's id."""
        return {**dataclasses.asdict(self), "cell": self.cell.to_dict(), "cell_id": self.cell.id}

    @classmethod
    def from_dict(cls, data: JsonObject) -> Self:
        """The record of these JSON values; ResultsError where they are none of a known schema."""
        if not isinstance(data, dict):
            raise ResultsError(f"a record is a JSON object, this is a {type(data).__name__}")
        values = migrate(dict(data))
        claimed = values.pop("cell_id", None)
        try:
            record = cls(**{**values, "cell": Cell.from_dict(values["cell"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise ResultsError(f"not a qbench record: {error}") from error
        if wrong := misfit(record):
            raise ResultsError(f"not a qbench record: {wrong}")
        if record.status not in _STATUSES:
            raise ResultsError(f"status {record.status!r:.60} is none of {', '.join(_STATUSES)}")
        if claimed is not None and claimed != record.cell.id:
            raise ResultsError(f"cell_id {claimed} does not match the cell, whose id is {record.cell.id}")
        return record


def by_id(records: Iterable[Record]) -> dict[str, Record]:
    """Cell id → record; of two records of one cell (two suites may share it) the newer."""
    return {record.cell.id: record for record in sorted(records, key=lambda record: record.started_at)}


@contextlib.contextmanager
def reading(record: Record) -> Iterator[None]:
    """Context for taking numbers out of a record: a value of an unexpected shape, deeper than was checked,
    becomes a ResultsError that names the record."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise ResultsError(
            f"{record.suite}/{record.run}/{record.cell.id}.json does not hold what qbench writes "
            f"({type(error).__name__}: {error}); restore the file, or move it away. If it is as it "
            "was written, this is a defect of qbench"
        ) from error


def migrate(data: JsonObject) -> JsonObject:
    """Brings a record's dict to the present schema; raises ResultsError for one from the future."""
    schema = data.get("schema")
    if schema == SCHEMA:
        return data
    raise ResultsError(
        f"record schema {schema!r}; this qbench reads {SCHEMA}. "
        "Upgrade qbench, or read the record with the version that wrote it"
    )
