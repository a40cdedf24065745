"""`qbench run --verify N`: finished cells are repeated, and their deterministic numbers compared.

The repeats run as cells of a run do, in fresh workers, in a folder that is thrown away. The comparison is
appended to `verified.jsonl` in the run's folder, a line for each verification; no record changes.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qbench.json_object import JsonObject
from qbench.results.compare.compare import described, deterministic
from qbench.results.frames.base import weights_behind
from qbench.results.store.atomic import write_bytes_atomic
from qbench.results.store.folders import Run, Store
from qbench.results.store.lock import lock
from qbench.results.store.record import Record
from qbench.run.bases import keep_base_outputs
from qbench.run.executors import registry as executors
from qbench.run.executors.executor import Executor
from qbench.run.executors.scheduler import Listener, Scheduler
from qbench.run.provenance.environment import utc_now

FILE = "verified.jsonl"


@dataclass(frozen=True)
class Twice:
    """A number of a cell and of its repeat, or all of a layer's; None where one of them has none."""

    equal: bool
    """True where both are the very same number."""
    first: float | list[Any] | None
    again: float | list[Any] | None


@dataclass(frozen=True)
class Verified:
    """One cell, measured again."""

    first: Record
    again: Record

    @property
    def metrics(self) -> dict[str, Twice]:
        """Metric → both values."""
        first, again = deterministic(self.first), deterministic(self.again)
        pairs = {name: (first.get(name), again.get(name)) for name in first | again}
        return {name: Twice(pair[0] == pair[1], *pair) for name, pair in pairs.items()}

    @property
    def different(self) -> list[str]:
        """Names of the metrics that differ; all of them where the repeat did not end well."""
        return [name for name, found in self.metrics.items() if not found.equal]

    @property
    def equal(self) -> bool:
        """True where there were numbers to compare, and all were equal."""
        return self.again.status == "ok" and bool(self.metrics) and not self.different

    def to_dict(self) -> JsonObject:
        return {
            "cell_id": self.first.cell.id,
            "cell": described(self.first),
            "status": self.again.status,
            "reason": self.again.reason,
            "equal": self.equal,
            "metrics": {name: asdict(found) for name, found in self.metrics.items()},
        }


def verify(
    run: Run, count: int, seed: int, listener: Listener, executor: Executor | str = "local"
) -> list[Verified]:
    """Repeats `count` of the run's `ok` cells (all, where it has fewer), drawn anew each time from the seed.

    Holds the run's folder meanwhile; ResultsError where another process does.
    """
    with lock(run.folder):
        finished = [record for record in Store(run.folder).records(run) if record.status == "ok"]
        before = _lines(run.folder)
        chosen = draw(finished, count, seed, len(before))
        again = _repeated(run, chosen, finished, listener, executor)
        found = [Verified(record, again[record.cell.id]) for record in chosen]
        line = {"verified_at": utc_now(), "seed": seed, "cells": [one.to_dict() for one in found]}
        lines = [*before, json.dumps(line, ensure_ascii=False, allow_nan=False)]
        write_bytes_atomic(run.folder / FILE, "".join(f"{one}\n" for one in lines).encode())
    return found


def draw(finished: Sequence[Record], count: int, seed: int, times_before: int) -> list[Record]:
    """Cells to repeat: the same for one seed, set of cells and number of verifications before."""
    ordered = sorted(finished, key=lambda record: record.cell.id)
    chance = random.Random(f"verify {seed} {times_before}")
    return chance.sample(ordered, min(count, len(ordered)))


def _repeated(
    run: Run, chosen: Sequence[Record], finished: Sequence[Record], listener: Listener, asked: Executor | str
) -> dict[str, Record]:
    if not chosen:
        return {}
    with tempfile.TemporaryDirectory(prefix="qbench-verify-") as folder:
        scheduler = Scheduler(replace(run, folder=Path(folder)), listener)
        cells = [record.cell for record in chosen]
        with executors.opened(asked) as executor:
            planned = [record.cell for record in finished]
            for problem in keep_base_outputs(executor, cells, planned, _made_from(chosen)):
                listener.note(problem)
            scheduler.work(executor, cells)
    return {record.cell.id: record for record in scheduler.records}


def _made_from(records: Sequence[Record]) -> dict[str, str]:
    """Weights of the quantized checkpoints → those that they were made from, as the records have it."""
    return {record.cell.model.weights: weights_behind(record) for record in records}


def _lines(folder: Path) -> list[str]:
    path = folder / FILE
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
