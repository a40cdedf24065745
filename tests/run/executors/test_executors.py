"""Executors by name, and a second one: the same numbers without the abilities that only `local` has."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from qbench.errors import QbenchError
from qbench.results.compare.compare import deterministic
from qbench.results.store.folders import Store
from qbench.run.executors import registry
from qbench.run.executors.executor import Capability, Executor, Grants, Job
from qbench.run.executors.local.executor import LocalExecutor
from qbench.run.runner import run_suite
from qbench.run.worker.events import Want
from qbench.run.worker.requests import Go, MeasurePeakRates, Slot
from tests.run.conftest import Listening, Run, suite
from tests.run.executors.plain import Plain

METHODS = [{"name": "none"}, {"name": "absmax", "num_bits": [4, 8]}]
MEASURED: dict[str, Any] = {
    "latency": {"prompt_lengths": [8], "generated_tokens": 3, "repetitions": 2}, "memory": {}
}  # fmt: skip


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """`plain` as an installed package registers it."""
    point = EntryPoint("plain", "tests.run.executors.plain:Plain", registry.GROUP)
    wrong = EntryPoint("wrong", "tests.run.executors.plain:Running", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point, wrong])


@pytest.mark.usefixtures("registered")
def test_executors_are_found_by_name() -> None:
    assert registry.executor_class("local") is LocalExecutor
    assert registry.executor_class("plain") is Plain
    with pytest.raises(
        QbenchError, match=r"no executor 'locl'; did you mean 'local'\? choose from: local, pl"
    ):
        registry.executor_class("locl")
    with pytest.raises(QbenchError, match=r"'wrong' names .*, which is no subclass of Executor"):
        registry.executor_class("wrong")


def test_a_broken_executor_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("lost", "no_such_module:Mine", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with pytest.raises(QbenchError, match="'lost': no_such_module:Mine does not load: ModuleNotFoundError"):
        registry.executor_class("lost")


def test_an_unknown_executor_leaves_no_run_behind(tmp_path: Path) -> None:
    with pytest.raises(QbenchError, match="no executor 'nosuch'"):
        run_suite(suite(METHODS, tmp_path), tmp_path / "results", Listening(), executor="nosuch")
    assert not (tmp_path / "results").exists()


def test_two_executors_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("local", "mine:Mine", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with pytest.raises(QbenchError, match="two executors are called 'local'"):
        registry.available()


def test_what_an_executor_lacks_is_said() -> None:
    job = Job(MeasurePeakRates("cpu"), 1)
    plain: Executor = Plain()
    for name, call in (
        ("stop", lambda: plain.stop(job)),
        ("turns", lambda: plain.suspend(job)),
        ("turns", lambda: plain.grant(job, Go())),
    ):
        with pytest.raises(QbenchError, match=f"executor 'plain' lacks the capability '{name}'"):
            call()
    assert LocalExecutor.capabilities == frozenset(Capability)


def test_grants_of_a_worker_that_is_alone_pair_nothing() -> None:
    grants = Grants()
    assert grants.answer(Want(phase="quantize")) == Go()
    slots = [grants.answer(Want(stage=stage)) for stage in (0, 1)]
    assert all(isinstance(slot, Slot) and (slot.place, slot.since_utc) == (0, "") for slot in slots)
    assert [slot.lap for slot in slots if isinstance(slot, Slot)] == [0, 1]


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
def test_a_second_executor_gives_the_same_numbers_and_pairs_no_times(tmp_path: Path, run: Run) -> None:
    local = {one.cell.id: one for one in run(METHODS, **MEASURED).records}
    loaded, listener = suite(METHODS, tmp_path, **MEASURED), Listening()
    with registry.executor_class("plain")() as plain:
        outcome = run_suite(loaded, tmp_path / "other", listener, executor=plain, jobs=2)
        assert isinstance(plain, Plain)
        assert plain.most == 1, "jobs of one machine that take no turns run one by one"
    found = {one.cell.id: one for one in outcome.records}
    assert [one.status for one in outcome.records] == ["ok"] * 3
    assert found.keys() == local.keys()
    for cell_id, record in found.items():
        assert deterministic(record) == deterministic(local[cell_id])
        assert deterministic(record)
        latency = record.samples["latency"]
        assert latency["interleaved_with"] == []
        why = "the executor plain takes no turns: each was timed by itself"
        assert latency["not_interleaved_with"] == dict.fromkeys(found.keys() - {cell_id}, why)
        (workload,) = latency["runs"]
        assert workload["since"] == ""
        assert len(workload["prefill_s"]) == len(local[cell_id].samples["latency"]["runs"][0]["prefill_s"])
        assert len(local[cell_id].samples["latency"]["interleaved_with"]) == 2
    peak = Store(outcome.run.folder).manifest(outcome.run)["ceilings"]["cpu"]
    assert peak.get("reason") is None


@pytest.mark.slow
@pytest.mark.usefixtures("misbehave", "registered")
def test_a_failure_on_a_second_executor_is_the_same_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.run.conftest import PLUGIN

    monkeypatch.setenv("PYTHONPATH", f"{PLUGIN}:{Path(__file__).parents[3]}")
    methods = [{"name": "misbehave", "how": how} for how in ("raise", "exit3", "kill")]
    outcome = run_suite(suite(methods, tmp_path), tmp_path / "results", Listening(), executor="plain")
    reasons = {record.cell.params["how"]: (record.status, record.reason) for record in outcome.records}
    assert reasons["exit3"] == ("failed", "the worker exited with code 3 without a result in phase quantize")
    assert reasons["kill"] == ("failed", "the worker was killed by SIGKILL in phase quantize")
    assert reasons["raise"][0] == "failed"
    assert "RuntimeError: broken on purpose" in (reasons["raise"][1] or "")
