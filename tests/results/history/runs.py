"""A tree of daily runs with given decode times and perplexities, built from plain dicts."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from qbench.results.store.folders import write_manifest, write_record
from qbench.results.store.record import Record
from tests.results import factory

FIRST = datetime(2026, 9, 1, 2, 0, tzinfo=UTC)
COMMITS = [f"{number:02x}" * 20 for number in range(256)]
"""The commit of each run."""


def run_name(day: int) -> str:
    return f"{FIRST + timedelta(days=day):%Y%m%dT%H%M%SZ}-{day:06x}"


def environment(**changes: Any) -> dict[str, Any]:
    """Environment of a manifest; `changes` replaces whole keys."""
    found = copy.deepcopy(factory.MANIFEST["environment"])
    return {**found, "python": "3.11.9", **changes}


def timed(method: str, seconds: float, loss_factor: float = 1.0, **cell: Any) -> Record:
    """A cell whose decode step takes so long, and whose loss is so many times the factory's."""
    nll: list[float | None] = [nats * loss_factor for nats in factory.LOSSES]
    samples = factory.samples(
        latency=factory.latency([seconds * 10] * 3, [[seconds] * 3] * 3), perplexity=factory.perplexity(nll)
    )
    return factory.record(method, cell=factory.cell(method, **cell), samples=samples)


def write_run(
    root: Path,
    day: int,
    records: Sequence[Record],
    *,
    suite: str = "nightly",
    planned: Mapping[str, str] | None = None,
    machine: Mapping[str, Any] | None = None,
    commit: str | None = None,
) -> Path:
    """One run; `planned` are cells that the run was to measure beside those that it recorded."""
    run = run_name(day)
    folder = root / suite / run
    git = {"commit": commit or COMMITS[day], "dirty": None}
    manifest = {
        **factory.MANIFEST,
        "suite": suite,
        "run": run,
        "started_at": (FIRST + timedelta(days=day)).isoformat(),
        "environment": {**(machine or environment()), "git": git},
        "cells": {**(planned or {}), **{record.cell.id: record.cell.label for record in records}},
    }
    write_manifest(folder, manifest)
    for record in records:
        write_record(folder, Record.from_dict({**record.to_dict(), "suite": suite, "run": run}))
    return folder
