"""Turns of real workers: who computes while a round is timed, and what a death, a kill or a resume leaves."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from qbench.cache import cache_folder
from qbench.cli.progress import LiveTable
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS
from qbench.run.executors.local.executor import LocalExecutor
from qbench.run.runner import run_suite
from qbench.suite.load import load_suite
from tests.run.conftest import PLUGIN, QUICK, Listening, Run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("misbehave")]

FAST: dict[str, Any] = {"threads": 1, "quality": False}
LATENCY = {"prompt_lengths": [32], "generated_tokens": 24, "repetitions": 3}
NEEDS_SCHEDSTAT = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="the kernel counts no nanoseconds by thread"
)


def _by_label(records: list[Record]) -> dict[str, dict[str, Any]]:
    return {record.cell.label: record.samples["latency"] for record in records if record.status == "ok"}


def test_compared_cells_are_timed_round_by_round_beside_each_other(run: Run) -> None:
    methods = [{"name": "none"}, {"name": "absmax", "num_bits": [8, 4]}]
    listener, lengths = Listening(), {**LATENCY, "prompt_lengths": [16, 32]}
    outcome = run(methods, latency=lengths, jobs=2, threads=1, listener=listener)
    assert [record.status for record in outcome.records] == ["ok"] * 3
    found = _by_label(outcome.records)
    ids = {record.cell.id for record in outcome.records}
    for record in outcome.records:
        latency = record.samples["latency"]
        assert set(latency["interleaved_with"]) == ids - {record.cell.id}
        assert latency["not_interleaved_with"] == {}
        assert record.phases["latency"] < 10, "waiting was counted as the cell's own time"
    assert sum(phase == "latency" for _, phase in listener.phases) == 3
    for corner in range(2):
        laps = [latency["runs"][corner]["lap"] for latency in found.values()]
        assert laps[0] == laps[1] == laps[2]
        rounds = sorted(
            (start, start + prefill + sum(steps), lap)
            for latency in found.values()
            for start, prefill, steps, lap in zip(
                *(latency["runs"][corner][key] for key in ("start_s", "prefill_s", "decode_s", "lap")),
                strict=True,
            )
        )
        assert [lap for *_, lap in rounds] == sorted(3 * laps[0]), "a lap began before the last was over"
        assert all(end <= start for (_, end, _), (start, *_) in itertools.pairwise(rounds))


@NEEDS_SCHEDSTAT
def test_nothing_else_of_qbench_computes_while_a_round_is_timed(run: Run, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    methods = [
        {"name": "none"},
        {"name": "witness", "how": "watch", "note": str(notes)},
        {"name": "witness", "how": "spin"},  # its thread never rests
    ]
    listener = LiveTable(Console(file=io.StringIO(), force_terminal=True, width=120))
    with listener:
        outcome = run(methods, latency={**LATENCY, "repetitions": 8}, listener=listener, **FAST)
    assert [record.status for record in outcome.records] == ["ok"] * 3
    seen = [json.loads(line) for line in notes.read_text().splitlines()]
    assert len(seen) >= 11
    wall_s = sum(row["wall_s"] for row in seen)
    for who in ("parent", "server", "others"):
        used_s = sum(row[who] for row in seen) / 1e9
        assert used_s < 0.002 * wall_s, f"{who} used {used_s:.6f} s of processor in {wall_s:.3f} timed s"


def test_a_member_that_dies_in_its_turn_leaves_the_others_whole(run: Run) -> None:
    methods = [{"name": "none"}, {"name": "witness", "how": "die"}, {"name": "absmax", "num_bits": 4}]
    outcome = run(methods, latency={**LATENCY, "repetitions": 6}, **FAST)
    status = {record.cell.method: record.status for record in outcome.records}
    assert status == {"none": "ok", "witness": "failed", "absmax": "ok"}
    died = next(record for record in outcome.records if record.status == "failed")
    assert died.reason == "the worker was killed by SIGKILL in phase latency"
    found = _by_label(outcome.records)
    assert {len(latency["runs"][0]["prefill_s"]) for latency in found.values()} == {6}
    assert all(died.cell.id in latency["interleaved_with"] for latency in found.values())


def test_waiting_for_the_others_costs_no_time_of_the_cell(run: Run, tmp_path: Path) -> None:
    slow = {"name": "witness", "how": "linger", "note": str(tmp_path / "note"), "num_bits": [8, 7]}
    latency = {**LATENCY, "repetitions": 8, "generated_tokens": 4}
    outcome = run([{"name": "none"}, slow], latency=latency, **FAST)
    assert [record.status for record in outcome.records] == ["ok"] * 3
    for record in outcome.records:
        lived = datetime.fromisoformat(record.ended_at) - datetime.fromisoformat(record.started_at)
        own_s, rounds = sum(record.phases.values()), 0 if record.cell.method == "none" else 11
        assert lived.total_seconds() > own_s + (22 - rounds) * 0.2, "the others' rounds count as its own"


def test_a_resumed_cell_names_the_base_that_it_was_not_measured_beside(run: Run) -> None:
    (base,) = run([{"name": "none"}], latency=LATENCY, **FAST).records
    outcome = run([{"name": "none"}, {"name": "absmax", "num_bits": [8, 4]}], latency=LATENCY, **FAST)
    assert [record.cell.method for record in outcome.records] == ["absmax", "absmax"]
    first, second = outcome.records
    assert first.samples["latency"]["interleaved_with"] == [second.cell.id]
    assert first.samples["latency"]["not_interleaved_with"] == {
        base.cell.id: "it was measured in an earlier launch"
    }


def test_one_cell_at_a_time_is_another_cell(run: Run) -> None:
    methods = [{"name": "none"}, {"name": "absmax"}]
    beside = run(methods, latency=LATENCY, **FAST)
    alone = run(methods, latency={**LATENCY, "interleave": 1}, **FAST)
    assert {record.cell.id for record in alone.records}.isdisjoint(
        record.cell.id for record in beside.records
    )
    assert [record.samples["latency"]["interleaved_with"] for record in alone.records] == [[], []]
    reasons = [list(record.samples["latency"]["not_interleaved_with"].values()) for record in alone.records]
    assert reasons == [["latency.interleave 1: it took turns with others"]] * 2


def test_stopped_workers_die_with_a_killed_parent_and_the_run_resumes(
    tmp_path: Path, executor: LocalExecutor
) -> None:
    note = tmp_path / "note"
    process = _start(tmp_path, note)
    deadline = time.monotonic() + 100
    while not note.exists() or len(note.read_text().splitlines()) < 6:  # in the midst of the laps
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server = int(note.read_text().splitlines()[0])
    workers = [int(pid) for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split()]
    assert len(workers) == 3
    process.kill()
    process.wait(timeout=30)
    deadline = time.monotonic() + 10
    while any(map(_alive, [server, *workers])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in [server, *workers] if _alive(pid)] == []
    resumed = run_suite(
        load_suite(str(tmp_path / "tiny.yaml")), tmp_path / "results", Listening(), executor=executor
    )
    assert [resumed.run.folder] == list((tmp_path / "results" / "tiny").iterdir())
    assert [len(record.samples["latency"]["interleaved_with"]) for record in resumed.records] == [2, 2, 2]


def _start(tmp_path: Path, note: Path) -> subprocess.Popen[str]:
    methods = [{"name": "none"}] + [
        {"name": "witness", "how": "linger", "note": str(note), "num_bits": bits} for bits in (8, 4)
    ]
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({**QUICK, "methods": methods, "latency": LATENCY, **FAST}))
    command = [sys.executable, "-m", "qbench", "run", str(path), "--results", str(tmp_path / "results")]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": str(PLUGIN)}
    )


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_compiled_cell_takes_turns_with_an_eager_one(run: Run, tmp_path: Path) -> None:
    latency = {"prompt_lengths": [8], "generated_tokens": 3, "repetitions": 2}
    outcome = run([{"name": "none"}], latency=latency, jobs=2, runtimes=["eager", "compile"], **FAST)
    assert [(record.status, record.reason) for record in outcome.records] == [("ok", None)] * 2
    found = {record.cell.runtime: record for record in outcome.records}
    runs = {name: record.samples["latency"]["runs"][0] for name, record in found.items()}
    compiled = runs["compile"]["compile"]
    assert compiled["cold"] is True
    assert all(seconds > 0.1 for part in ("prefill_s", "decode_s") for seconds in compiled[part])
    assert METRICS["compile_s"].value(found["compile"]) == pytest.approx(
        sum(compiled["prefill_s"] + compiled["decode_s"])
    )
    assert runs["eager"]["lap"] == runs["compile"]["lap"]
    assert {one["place"][0] for one in runs.values()} == {0, 1}
    assert found["compile"].samples["latency"]["interleaved_with"] == [found["eager"].cell.id]
    left = cache_folder() / "inductor"
    mine = {str(record.environment["pid"]) for record in outcome.records}
    assert not [folder for folder in left.glob("*-*") if folder.name.partition("-")[0] in mine]
