"""A run from end to end: resumed, filtered, interrupted, killed, contended."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from qbench.errors import ResultsError, SuiteError
from qbench.results.store.folders import Store
from qbench.results.store.lock import lock
from qbench.suite.rules import parse_filter
from tests.run.conftest import QUICK, Listening, Run

pytestmark = pytest.mark.slow

METHODS = [{"name": "none"}, {"name": "absmax", "num_bits": [8, 4]}, {"name": "zeropoint", "num_bits": 3}]


def test_a_second_run_measures_nothing_and_fresh_measures_all(run: Run) -> None:
    first, second, third = run(METHODS), run(METHODS), run(METHODS, fresh=True)
    assert [record.status for record in first.records] == ["ok"] * 4
    assert (second.run, second.records, second.exit_code) == (first.run, [], 0)
    assert third.run != first.run
    nll = [[record.samples["perplexity"]["nll"] for record in outcome.records] for outcome in (first, third)]
    assert nll[0] == nll[1], "the same cells gave other numbers"


def test_an_added_method_is_measured_in_the_same_run(run: Run) -> None:
    first = run(METHODS[:2])
    second = run(METHODS)
    assert second.run == first.run
    assert [record.cell.method for record in second.records] == ["zeropoint"]


def test_a_failed_cell_is_tried_again(run: Run, misbehave: None) -> None:
    methods = [{"name": "none"}, {"name": "misbehave"}]
    assert [record.status for record in run(methods).records] == ["ok", "failed"]
    assert [record.status for record in run(methods).records] == ["failed"]


def test_another_environment_starts_a_run_of_its_own(run: Run, tmp_path: Path) -> None:
    first = run(METHODS[:1])
    manifest = first.run.folder / "manifest.json"
    changed = json.loads(manifest.read_text())
    changed["environment"]["packages"]["torch"] = "1.0"
    manifest.write_text(json.dumps(changed))
    assert run(METHODS[:1]).run != first.run


def test_a_filter_runs_what_it_names_and_nothing_else(run: Run) -> None:
    outcome = run(METHODS, rules=[parse_filter("method=absmax,num_bits=4")])
    assert [record.cell.label for record in outcome.records] == ["absmax num_bits=4"]
    with pytest.raises(SuiteError, match="absmax"):
        run(METHODS, rules=[parse_filter("method=absmx")])


def test_wrong_parameters_stop_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"tiny\.yaml:\d+:\d+.*num_bit.*did you mean 'num_bits'"):
        run([{"name": "absmax", "num_bit": 4}])
    with pytest.raises(SuiteError, match=r"absmax strategy=channel.*once the defaults are filled in"):
        run([{"name": "absmax"}, {"name": "absmax", "strategy": "channel"}])
    assert not (tmp_path / "results").exists()


def test_jobs_side_by_side_give_the_same_numbers(run: Run) -> None:
    one = run(METHODS, name="one")
    listener = Listening()
    two = run(METHODS, name="two", jobs=2, listener=listener)
    key = {record.cell.id: record.samples["perplexity"]["nll"] for record in one.records}
    assert {record.cell.id: record.samples["perplexity"]["nll"] for record in two.records} == key
    starts = [label for label, phase in listener.phases if phase == "start"]
    firsts = [index for index, (_, phase) in enumerate(listener.phases) if phase == "start"]
    assert len(starts) == 4
    assert firsts[1] == firsts[0] + 1, "the second worker did not start beside the first"


def test_provenance_stands_in_manifest_and_record(run: Run) -> None:
    outcome = run(METHODS[1:2])
    manifest = Store(outcome.run.folder).manifest(outcome.run)
    environment = manifest["environment"]
    assert {"torch", "transformers"} <= set(environment["packages"])
    assert environment["cpu"]["cores"] == len(os.sched_getaffinity(0))
    assert yaml.safe_load(manifest["suite_text"])["name"] == "tiny"
    assert manifest["status"] == "finished"
    assert manifest["started_at"] < manifest["ended_at"]
    assert manifest["ceilings"]["cpu"]["copy_bytes_per_s"] > 1e8
    record = outcome.records[0]
    assert record.cell.model.weights.startswith("sha256:")
    assert len(record.cell.sections["quality"]["corpus_sha256"]) == 64
    assert {"start", "load", "quantize", "perplexity"} <= set(record.phases)
    assert len(record.layers) == 6 * 7
    assert all(layer["executed"] for layer in record.layers), "a layer does not say which kernel ran"


def test_two_runs_on_one_folder_do_not_meet(run: Run) -> None:
    outcome = run(METHODS[:1])
    with lock(outcome.run.folder), pytest.raises(ResultsError, match=f"process {os.getpid()}.*--fresh"):
        run(METHODS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_closes_the_manifest_and_the_next_run_resumes(tmp_path: Path, number: int) -> None:
    process = _start(tmp_path)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any('"record"' in line for line in lines)
    process.send_signal(number)
    assert process.wait(timeout=30) == 130
    (folder,) = (tmp_path / "results" / "tiny").iterdir()
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    again = _start(tmp_path)
    assert again.wait(timeout=120) == 0
    assert json.loads((folder / "manifest.json").read_text())["status"] == "finished"
    assert len(list(folder.glob("*.json"))) == 1 + 4


def test_kill_9_at_any_instant_loses_only_the_cells_in_flight(tmp_path: Path) -> None:
    chance = random.Random(5)
    seen: Counter[str] = Counter()
    for _ in range(5):
        process = _start(tmp_path)
        time.sleep(chance.uniform(0.5, 9))
        process.kill()
        process.wait()
        store = Store(tmp_path / "results") if (tmp_path / "results").exists() else None
        if store is None:
            continue
        # a strict store raises for a broken file
        whole = [record for found in store.runs() for record in store.records(found)]
        now = Counter(record.cell.id for record in whole if record.status == "ok")
        assert set(seen) <= set(now), "a finished record was lost"
        seen = now
    assert _start(tmp_path).wait(timeout=120) == 0
    store = Store(tmp_path / "results")
    (only,) = store.runs()
    assert sorted(record.status for record in store.records(only)) == ["ok"] * 4


def _start(tmp_path: Path) -> subprocess.Popen[str]:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({**QUICK, "methods": METHODS}))
    options = ["--results", str(tmp_path / "results"), "--json"]
    command = [sys.executable, "-m", "qbench", "run", str(path), *options]
    # A test set in the background of a shell ignores SIGINT, and what it starts would inherit that.
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts)


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
