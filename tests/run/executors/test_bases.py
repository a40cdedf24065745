"""The unquantized model's outputs in a run: made once, before the cells; a failure is said and survived."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import qbench
from qbench.cell import Cell, ModelRef
from qbench.results.store.folders import Store
from qbench.run import bases
from qbench.run.executors.executor import Capability
from qbench.run.executors.local.executor import LocalExecutor
from qbench.run.quantize import Order, quantize
from qbench.run.runner import Outcome, run_suite
from qbench.run.verify import verify
from qbench.suite.rules import parse_filter
from tests.results import factory
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
    with LocalExecutor() as executor:

        def run(methods: list[dict[str, Any]], listener: Any = None, **changes: Any) -> Outcome:
            loaded = suite(methods, tmp_path, **changes)
            return run_suite(
                loaded, tmp_path / "results", listener or Listening(), executor=executor, fresh=True
            )

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


def test_who_lends_a_checkpoint_its_base(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Cell] = []
    monkeypatch.setattr(bases, "_run", lambda executor, cell: made.append(cell))
    quality = {**factory.cell().sections["quality"], "divergence": True}
    none = factory.cell(quality=quality)
    saved = factory.cell("saved", quality=quality, model=ModelRef("q", "./q", "sha256:q"), params={})
    origin = {"sha256:q": none.model.weights}
    strangers = [
        factory.cell(quality=quality, dtype="fp32"),
        factory.cell(quality=quality, model=ModelRef("n", "n", "sha256:n")),
        factory.cell(quality={**quality, "seqlen": 64}),
        factory.cell(quality=quality, threads=9),
    ]
    keep = bases.keep_base_outputs
    executor: Any = SimpleNamespace(capabilities={Capability.SHARED_CACHE})
    assert keep(executor, [saved], [saved, *strangers, none], origin) == []
    assert made == [none]
    made.clear()
    keep(executor, [saved], [saved, *strangers], origin)
    keep(executor, [saved], [saved, none], {})
    assert made == []
    keep(executor, [saved, none], [saved, none], origin)
    assert made == [none], "once for both"


@pytest.mark.slow
def test_a_checkpoint_has_its_base_although_no_other_cell_runs(cache: Path, tmp_path: Path) -> None:
    """Its model's own cell ended in an earlier launch, and what was kept is gone."""
    models = [{"source": "builtin:austen-6m"}, {"source": "./made"}]
    with LocalExecutor() as executor:
        quantize(Order("builtin:austen-6m", "absmax", {"num_bits": 4}), tmp_path / "made", executor=executor)
        whole = suite([{"name": "none"}, {"name": "saved"}], tmp_path, models=models)
        first = run_suite(
            whole, tmp_path / "results", Listening(), executor=executor, rules=[parse_filter("method=none")]
        )
        assert [record.cell.method for record in first.records if record.status == "ok"] == ["none"]
        shutil.rmtree(cache / "base")
        outcome = run_suite(whole, tmp_path / "results", Listening(), executor=executor)
        (saved,) = [record for record in outcome.records if record.status == "ok"]
        assert saved.cell.method == "saved"
        assert sum(saved.samples["perplexity"]["divergence"]["kl"]) > 0
        shutil.rmtree(cache / "base")
        found = verify(outcome.run, 9, 0, Listening(), executor)
        assert [one.different for one in found] == [[], []]
        shutil.rmtree(cache / "base")
        alone = suite([{"name": "saved"}], tmp_path, models=models[1:], name="alone")
        (record,) = run_suite(alone, tmp_path / "results", Listening(), executor=executor).records
        assert "no cell of the weights" in record.samples["perplexity"]["divergence"]["reason"]
