"""A finished run against what was accepted before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from qbench.errors import ResultsError
from qbench.gate.baseline.baseline import accept, baseline_file
from qbench.gate.command import StoredGate, with_baseline
from qbench.results.store.folders import Run, Store
from tests.run.conftest import Run as RunSuite
from tests.run.conftest import suite


def finished(run: RunSuite, methods: list[dict[str, Any]], tmp_path: Path, **changes: Any) -> Run:
    outcome = run(methods, **changes)
    assert outcome.exit_code == 0
    accept(outcome.run, baseline_file(tmp_path / "results", "tiny"), "the first numbers")
    return outcome.run


@pytest.mark.slow
@pytest.mark.usefixtures("misbehave")
def test_a_finished_run_against_what_was_accepted(run: RunSuite, tmp_path: Path) -> None:
    methods = [{"name": "none"}, {"name": "absmax", "num_bits": 4}]
    first = finished(run, methods, tmp_path)
    loaded = suite(methods, tmp_path)
    for baseline in (tmp_path / "results", baseline_file(tmp_path / "results", "tiny"), first.folder):
        result = with_baseline(loaded, StoredGate(baseline, first.folder))
        assert (result.exit_code, set(result.counts)) == (0, {"same"})
    (lost,) = [path for path in first.folder.glob("*.json") if path.stem in _ids(first, "absmax")]
    lost.unlink()
    result = with_baseline(loaded, StoredGate(tmp_path / "results", first.folder))
    assert result.exit_code == 1
    assert [(one.metric, one.verdict) for one in result.findings if one.red] == [("status", "missing")]
    rules = [{"method": ["none"]}]
    assert with_baseline(loaded, StoredGate(tmp_path / "results", first.folder, rules=rules)).exit_code == 0
    filtered = StoredGate(tmp_path / "results", results=tmp_path / "other", rules=[{"method": ["absmax"]}])
    alone = with_baseline(loaded, filtered)
    assert (alone.exit_code, set(alone.counts)) == (0, {"same"}), "its base was not measured again"
    assert alone.notes == (
        "perplexity_ratio of 1 cells is not compared: the filter leaves out what it relates to",
    )
    shutil.rmtree(first.folder / "none", ignore_errors=True)
    for path in first.folder.glob("*.json"):
        if path.name != "manifest.json":
            path.unlink()
    assert with_baseline(loaded, StoredGate(tmp_path / "results", first.folder)).exit_code == 3


def _ids(run: Run, method: str) -> set[str]:
    return {record.cell.id for record in Store(run.folder).records(run) if record.cell.method == method}


def test_what_cannot_be_compared_is_an_error(tmp_path: Path) -> None:
    loaded = suite([{"name": "none"}], tmp_path)
    with pytest.raises(ResultsError, match="no baseline"):
        with_baseline(loaded, StoredGate(tmp_path))
    file = baseline_file(tmp_path, "tiny")
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    with pytest.raises(ResultsError, match="cannot be used"):
        with_baseline(loaded, StoredGate(tmp_path))
