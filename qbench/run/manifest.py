"""The manifest of a run: its suite, environment and peak rates, its beginning and its end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from qbench.cell import Cell
from qbench.json_object import JsonObject
from qbench.results.store.folders import Run, Store, write_manifest
from qbench.run.executors.driver import run_alone
from qbench.run.executors.executor import Capability, Executor, Job
from qbench.run.executors.running_job import RunningJob
from qbench.run.planning.plan import Planned
from qbench.run.provenance import environment as machine
from qbench.run.provenance.environment import utc_now
from qbench.run.worker.requests import MeasurePeakRates
from qbench.suite.spec import Suite

SCHEMA = 1
PEAK_RATES_TIMEOUT_S = 120.0


def open_run(run: Run, suite: Suite, planned: Sequence[Planned], environment: JsonObject) -> None:
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
    """Adds problems that belong to no cell."""
    if problems:
        manifest = _read(run)
        manifest["launches"][-1]["problems"] = list(problems)
        write_manifest(run.folder, manifest)


def measure_peak_rates(run: Run, executor: Executor, devices: Sequence[str], threads: int | None) -> None:
    """Bandwidth and GEMM rates of each device into the manifest, unless they stand there already.

    Rates are facts of one machine: for an executor with several the manifest has none.
    """
    if Capability.SAME_MACHINE not in executor.capabilities:
        return
    manifest = _read(run)
    known = executor.peak_rates
    for device in devices:
        if device not in manifest["ceilings"]:
            if (device, threads) not in known:
                known[device, threads] = _peak_rates(executor, device, threads)
            manifest["ceilings"][device] = known[device, threads]
            write_manifest(run.folder, manifest)


def differences(manifest: JsonObject, environment: JsonObject) -> list[str]:
    """Reasons that a run with this manifest cannot be resumed here and now; empty where it can."""
    theirs = manifest.get("environment")
    if not isinstance(theirs, dict):
        return ["its manifest names no environment"]
    return machine.differences(machine.fingerprint(environment), machine.fingerprint(theirs))


def _corpora(cells: Sequence[Cell]) -> dict[str, str]:
    """Name → SHA-256 of every text that a cell reads."""
    texts = [section for cell in cells for section in cell.sections.values() if "corpus_sha256" in section]
    return {text["corpus_name"]: text["corpus_sha256"] for text in texts}


def _peak_rates(executor: Executor, device: str, threads: int | None) -> JsonObject:
    work = MeasurePeakRates(device, threads=threads)
    running = RunningJob(Job(work, PEAK_RATES_TIMEOUT_S, device, exclusive=True))
    run_alone(executor, running)
    if running.failure is not None:
        return {"value": None, "reason": f"{running.failure.type}: {running.failure.message}"}
    unfinished = {"value": None, "reason": "the measurement did not finish"}
    found: JsonObject = running.parts.get("ceilings", unfinished)
    return found


def _read(run: Run) -> JsonObject:
    return Store(run.folder, strict=False).manifest(run)
