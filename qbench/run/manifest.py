"""The manifest of a run: what was asked, where and with what it ran, when it began and ended."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qbench.cell import Cell
from qbench.results.store.folders import Run, Store, write_manifest
from qbench.run.executors.local.pool import Pool
from qbench.run.planning.plan import Planned
from qbench.run.provenance import environment as machine
from qbench.run.provenance.clock import utc_now
from qbench.suite.spec import Suite

SCHEMA = 1
CEILINGS_TIMEOUT_S = 120.0


def open_run(run: Run, suite: Suite, planned: Sequence[Planned], environment: dict[str, Any]) -> None:
    """Writes the manifest of a new run, or brings that of a resumed one up to date."""
    before = _read(run)
    now = utc_now()
    now_cells = [plan.cell for plan in planned]
    cells = {**before.get("cells", {}), **{plan.cell.id: plan.cell.label for plan in planned}}
    manifest = {
        "schema": SCHEMA,
        "suite": run.suite,
        "run": run.name,
        "status": "running",
        "started_at": before.get("started_at", now),
        "ended_at": None,
        "launches": [
            *before.get("launches", []),
            {"started_at": now, "load_average": environment["load_average"]},
        ],
        "environment": before.get("environment", environment),
        "ceilings": before.get("ceilings", {}),
        "suite_file": Path(suite.file).name,
        "suite_text": suite.text,
        "suite_sha256": hashlib.sha256(suite.text.encode()).hexdigest(),
        "cells": cells,
        "weights": {
            **before.get("weights", {}),
            **{cell.model.name: cell.model.weights for cell in now_cells},
        },
        "corpora": {**before.get("corpora", {}), **_corpora(now_cells)},
    }
    write_manifest(run.folder, manifest)


def close_run(run: Run, status: str) -> None:
    """Notes the end of this launch: `finished`, `interrupted` or `crashed`."""
    manifest = _read(run)
    end = {"ended_at": utc_now(), "load_average_at_end": os.getloadavg(), "status": status}
    manifest["launches"][-1].update(end)
    manifest.update(status=status, ended_at=end["ended_at"])
    write_manifest(run.folder, manifest)


def note_problems(run: Run, problems: Sequence[str]) -> None:
    """What went wrong beside the cells."""
    if problems:
        manifest = _read(run)
        manifest["launches"][-1]["problems"] = list(problems)
        write_manifest(run.folder, manifest)


def measure_ceilings(run: Run, pool: Pool, devices: Sequence[str], threads: int | None) -> None:
    """Bandwidth and GEMM rates of each device into the manifest, unless they stand there already."""
    manifest = _read(run)
    for device in devices:
        if device not in manifest["ceilings"]:
            if (device, threads) not in pool.ceilings:
                pool.ceilings[device, threads] = _ceilings(pool, device, threads)
            manifest["ceilings"][device] = pool.ceilings[device, threads]
            write_manifest(run.folder, manifest)


def differences(manifest: dict[str, Any], environment: dict[str, Any]) -> list[str]:
    """Why a run with this manifest cannot be resumed here and now; empty where it can."""
    theirs = manifest.get("environment")
    if not isinstance(theirs, dict):
        return ["its manifest names no environment"]
    return machine.differences(machine.fingerprint(environment), machine.fingerprint(theirs))


def _corpora(cells: Sequence[Cell]) -> dict[str, str]:
    """Name → SHA-256 of every text that a cell reads."""
    texts = [section for cell in cells for section in cell.sections.values() if "corpus_sha256" in section]
    return {text["corpus_name"]: text["corpus_sha256"] for text in texts}


def _ceilings(pool: Pool, device: str, threads: int | None) -> dict[str, Any]:
    job = pool.start({"kind": "ceilings", "device": device, "threads": threads}, CEILINGS_TIMEOUT_S)
    found: dict[str, Any] = {"value": None, "reason": "the measurement did not finish"}
    while job.exit_code is None:
        pool.wait()
        while job.events:
            event = job.events.popleft()
            if event["event"] == "want":
                job.send({"go": True})
            elif event["event"] == "part" and event["key"] == "ceilings":
                found = event["value"]
            elif event["event"] == "error":
                found = {"value": None, "reason": f"{event['type']}: {event['message']}"}
    return found


def _read(run: Run) -> dict[str, Any]:
    return Store(run.folder, strict=False).manifest(run)
