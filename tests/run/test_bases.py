"""The unquantized model's outputs in a run: made once, before the cells; a failure is said and survived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import qbench
from qbench.results.store import Store
from qbench.run.pool import Pool
from qbench.run.runner import Outcome, run_suite
from tests.run.conftest import Listening, suite

METHODS = [{"name": "none"}, {"name": "absmax"}, {"name": "hqq", "num_bits": 3}]
Go = Callable[..., Outcome]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def go(cache: Path, tmp_path: Path) -> Iterator[Go]:
    """Runs methods with a server that knows this cache, each time afresh."""
    with Pool() as pool:

        def run(methods: list[dict[str, Any]], listener: Any = None, **changes: Any) -> Outcome:
            loaded = suite(methods, tmp_path, **changes)
            return run_suite(loaded, tmp_path / "results", listener or Listening(), pool=pool, fresh=True)

        yield run


def test_one_base_for_all_methods(go: Go, cache: Path) -> None:
    frame = qbench.load(go(METHODS).run.folder).set_index("method")
    assert frame.loc["none", ["kl_divergence", "kl_max", "top1_agreement"]].tolist() == [0, 0, 1]
    assert 0 < frame.loc["absmax", "kl_divergence"] < frame.loc["hqq", "kl_divergence"]
    for method in ("absmax", "hqq"):
        low, value, high = frame.loc[method, ["kl_divergence_low", "kl_divergence", "kl_divergence_high"]]
        assert low < value < high
    (kept,) = (cache / "base").iterdir()
    written = kept.stat().st_mtime_ns
    go(METHODS)
    assert [file.stat().st_mtime_ns for file in (cache / "base").iterdir()] == [written]
    go(METHODS[:1], quality={"max_windows": 1, "seqlen": 64})
    assert len(list((cache / "base").iterdir())) == 2


def test_a_base_that_cannot_be_kept_costs_divergence_only(go: Go, cache: Path) -> None:
    cache.mkdir(exist_ok=True)
    (cache / "base").write_text("a file where the folder should be")
    listening = Listening()
    outcome = go(METHODS[:2], listening)
    assert [record.status for record in outcome.records] == ["ok", "ok"]
    frame = qbench.load(outcome.run.folder)
    assert frame["kl_divergence"].isna().all()
    assert frame["perplexity"].notna().all()
    assert "outputs could not be made or read" in frame["missing"].iloc[1]
    (note,) = listening.notes
    assert "no outputs of the unquantized model" in note
    assert Store(outcome.run.folder).manifest(outcome.run)["launches"][-1]["problems"] == [note]
