"""Cell ids never change: those of every committed suite and record are the ones of November 2026.

A record, a baseline and a resumed run are found by their cell's id. `frozen_ids.json` was written before the
modules moved to where they stand now; a key that is added to a cell later must leave it as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qbench.fields import Corpus
from qbench.results.store.record import Record
from qbench.run.planning.devices import Devices
from qbench.run.planning.plan import Planner
from qbench.suite.load import load_suite

ROOT = Path(__file__).resolve().parents[1]
FROZEN = json.loads(Path(__file__).with_name("frozen_ids.json").read_text())
SUITES = sorted(path for path in (ROOT / "suites").glob("*.yaml") if path.stem in FROZEN)
RECORDS = sorted((ROOT / "results/examples").glob("*/*/*[0-9a-f].json"))


def planned_ids(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of a suite's cells on a machine without a GPU and without any model but the embedded one."""
    monkeypatch.setenv("QBENCH_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("qbench.probes.tasks.section.lm_eval_version", lambda: "0.4.13")
    if path.stem == "hub":  # its text is on the hub
        monkeypatch.setattr(
            "qbench.models.corpora.read_documents", lambda where: [f"text of {_written(where)}"]
        )
    planner = Planner(load_suite(path), Devices([], "no GPU"))
    return [planned.cell.id for planned in planner.plan()]


def _written(where: Corpus) -> str | dict[str, Any]:
    return where if isinstance(where, str) else where.model_dump()


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_ids_of_committed_suites(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned_ids(path, tmp_path, monkeypatch) == FROZEN[path.stem]


def test_every_suite_of_then_is_still_there() -> None:
    assert {path.stem for path in SUITES} == set(FROZEN)


def test_records_have_the_ids_that_they_were_stored_under() -> None:
    assert len(RECORDS) >= 28
    for path in RECORDS:
        assert Record.from_dict(json.loads(path.read_bytes())).cell.id == path.stem
