"""The same suite twice, and single cells again: the same numbers to the last bit, or said so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qbench.cli.run import exit_code, say
from qbench.results.compare.compare import compare_folders
from qbench.results.store.folders import Store, write_record
from qbench.results.store.record import Record
from qbench.run.executors.local.executor import LocalExecutor
from qbench.run.verify import FILE, Verified, draw, verify
from tests.results import factory
from tests.run.conftest import Listening, Run

EVERY_KIND = [
    {"name": "none"},
    {"name": "absmax", "activations": ["dynamic", "static"]},
    {"name": "hqq", "num_bits": 4, "group_size": 64},
    {"name": "gptq", "num_bits": 4, "group_size": 64},
    {"name": "llm_int8"},
    {"name": "fp8", "activations": "dynamic"},
]
SMALL: dict[str, Any] = {
    "memory": {},
    "calibration": {"samples": 4, "seqlen": 64},
    "quality": {"seqlen": 64, "max_windows": 3},
    "threads": 2,
}


@pytest.mark.slow
def test_the_same_suite_twice_gives_the_same_numbers_to_the_last_bit(run: Run, tmp_path: Path) -> None:
    first = run(EVERY_KIND, **SMALL)
    with LocalExecutor() as another:  # another hash seed, other addresses
        second = run(EVERY_KIND, fresh=True, jobs=2, executor=another, **SMALL)
    assert first.run != second.run
    found = compare_folders(first.run.folder, second.run.folder)
    assert [pair.differences for pair in found.pairs if not pair.identical] == []
    assert found.verdict == "identical bit for bit: 7 of 7 cells"
    assert all(len(pair.compared) >= 9 for pair in found.pairs)
    assert found.environment == ()


@pytest.mark.slow
def test_finished_cells_are_repeated_and_a_changed_record_is_found_out(
    run: Run, executor: LocalExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run([{"name": "none"}, {"name": "absmax", "num_bits": [8, 4]}], memory={}, threads=1)
    folder = outcome.run.folder
    before = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    found = verify(outcome.run, 2, 0, Listening(), executor)
    assert [one.equal for one in found] == [True, True]
    assert exit_code(found) == 0
    assert {path.name: path.read_bytes() for path in folder.glob("*.json")} == before

    for record in outcome.records:  # one bit of one window
        samples = json.loads(json.dumps(record.samples))
        samples["perplexity"]["nll"][1] *= 1 + 2**-52
        write_record(folder, replace(record, samples=samples))
    again = verify(outcome.run, 9, 0, Listening(), executor)
    assert len(again) == 3
    assert exit_code(again) == 1
    assert all("nll by window" in one.different for one in again)
    say(again, folder / FILE, quiet=False, json=False)
    assert "verified: 0 of 3 cells equal bit for bit" in capsys.readouterr().out
    lines = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    assert [[cell["equal"] for cell in line["cells"]] for line in lines] == [[True] * 2, [False] * 3]
    assert len(list(Store(folder).records(outcome.run))) == 3, "the verification was read as a record"


def _records(count: int) -> list[Record]:
    return [factory.record("absmax", cell_changes={"params": {"number": number}}) for number in range(count)]


def test_cells_are_drawn_by_the_seed_and_others_the_next_time() -> None:
    records = _records(40)
    first = draw(records, 5, 0, 0)
    assert draw(records[::-1], 5, 0, 0) == first
    assert len({record.cell.id for record in first}) == 5
    assert draw(records, 5, 0, 1) != first
    assert draw(records, 5, 1, 0) != first
    assert len(draw(records, 99, 0, 0)) == 40


def test_a_cell_without_a_number_to_compare_is_not_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = factory.record()
    timed = factory.record("absmax")
    bare = replace(timed, samples={"latency": timed.samples["latency"]}, layers=[], model={})
    nothing = Verified(bare, bare)
    assert nothing.metrics == {}
    assert not nothing.equal
    assert exit_code([Verified(record, record), nothing]) == 1
    say([Verified(record, record), nothing], tmp_path / FILE, quiet=False, json=False)
    shown = capsys.readouterr().out
    assert "verified: 1 of 2 cells" in shown
    assert "nothing was compared" in shown


def test_a_repeat_that_fails_is_no_equal_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = factory.record()
    failed = replace(record, status="oom", reason="killed", samples={})
    bad = Verified(record, failed)
    assert not bad.equal
    assert exit_code([Verified(record, record)]) == 0
    assert exit_code([Verified(record, record), bad]) == 1
    assert exit_code([]) == 1, "nothing compared is not verified"
    say([bad], tmp_path / FILE, quiet=False, json=False)
    assert "oom when repeated: killed" in capsys.readouterr().out
    say([bad], tmp_path / FILE, quiet=False, json=True)
    assert json.loads(capsys.readouterr().out)["cells"][0]["equal"] is False
    say([bad], tmp_path / FILE, quiet=True, json=False)
    assert capsys.readouterr().out == ""
