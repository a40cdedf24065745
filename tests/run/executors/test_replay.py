"""Recorded streams of real workers give the records that they gave when they were recorded."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qbench.cell import Cell
from qbench.results.store.folders import Run
from qbench.run.executors.local.executor import LocalExecutor
from qbench.run.executors.scheduler import Scheduler
from tests.run.conftest import Listening

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
EXPECTED = HERE / "recorded" / "records"
TIMED_OUT_S = 1.0
STORED = ("ok", "ok_quantized", "raise", "oom", "kill", "exit3", "hang")


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalExecutor]:
    """A server whose workers play recordings."""
    python = tmp_path_factory.mktemp("python") / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "replay_server.py"} "$@"\n')
    python.chmod(0o755)
    with LocalExecutor(str(python)) as executor:
        yield executor


def recorded_cell(name: str, label: str | None = None) -> Cell:
    first = json.loads((RECORDED / f"{name}.jsonl").read_text().splitlines()[0])
    cell = Cell.from_dict(first["message"]["cell"])
    return replace(cell, label=label or name, timeout_s=TIMED_OUT_S if name == "hang" else 600.0)


def records_of(
    executor: LocalExecutor, cells: list[Cell], folder: Path, jobs: int = 1
) -> dict[str, dict[str, Any]]:
    """Label → the record as it is stored, without what no two runs share."""
    scheduler = Scheduler(Run("suite", "run", folder), Listening(), jobs)
    scheduler.work(executor, cells)
    return {record.cell.label: steady(record.to_dict()) for record in scheduler.records}


def steady(record: dict[str, Any]) -> dict[str, Any]:
    for key in ("started_at", "ended_at"):
        assert record.pop(key)
    assert record["phases"].pop("start") > 0
    assert record["environment"].pop("pid") > 0
    assert record["environment"].pop("peak_rss_bytes") > 0
    found: dict[str, Any] = json.loads(json.dumps(record))
    return found


@pytest.mark.parametrize("jobs", [1, 2])
def test_recorded_streams_give_the_same_records(replayed: LocalExecutor, tmp_path: Path, jobs: int) -> None:
    found = records_of(replayed, [recorded_cell(name) for name in STORED], tmp_path, jobs)
    assert list(found) == list(STORED) or jobs > 1
    for name in STORED:
        assert found[name] == json.loads((EXPECTED / f"{name}.json").read_text()), name


GARBAGE = {
    "text": ["Segmentation fault, it says"],
    "list": ["[1, 2]"],
    "event": ['{"event": 7}'],
    "part": ['{"event": "part"}'],
    "order": ['{"event": "release"}'],
    "grants": ['{"event": "rounds_over"}', '{"event": "release"}', '{"event": "want", "stage": 0}'],
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_a_typed_failure_of_its_cell_and_hurts_no_other(
    replayed: LocalExecutor, tmp_path: Path, kind: str
) -> None:
    """The worker hangs after it, so that only a parent that ends it comes to an end."""
    garbage = replace(recorded_cell("kill", f"garbage_{kind}"), timeout_s=60)
    found = records_of(replayed, [garbage, recorded_cell("ok")], tmp_path)
    record = found[f"garbage_{kind}"]
    assert record["status"] == "failed"
    assert record["error"]["type"] == "ProtocolError"
    assert record["reason"].startswith("ProtocolError in phase load: the worker's message is malformed: ")
    assert record["environment"]["threads"] == 1, "what was said before is kept"
    assert found["ok"]["status"] == "ok"


def test_an_event_of_a_newer_version_is_ignored(replayed: LocalExecutor, tmp_path: Path) -> None:
    found = records_of(replayed, [recorded_cell("ok", "newer")], tmp_path)
    expected = json.loads((EXPECTED / "ok.json").read_text())
    assert found["newer"]["samples"]["perplexity"] == expected["samples"]["perplexity"]
    assert found["newer"]["status"] == "ok"
