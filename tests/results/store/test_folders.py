"""The store: layout, roots, broken files, atomic writes under kill -9, and the lock."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qbench.errors import ResultsError
from qbench.results.store.atomic import write_json_atomic
from qbench.results.store.folders import Store, new_run_name, write_record
from qbench.results.store.lock import lock
from tests.results import factory

OLD, NEW = "20261121T105600Z-ab12cd", "20261122T000000Z-000000"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for suite, run in (("quickstart", OLD), ("quickstart", NEW), ("other", OLD)):
        factory.write_run(tmp_path, [factory.record(suite=suite, run=run), factory.failed()], suite, run)
    return tmp_path


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    record = factory.record("absmax")
    run = factory.write_run(tmp_path, [record])
    found = Store(tmp_path).runs()[0]
    assert found.folder == run
    assert Store(tmp_path).record(found, record.cell.id) == record
    assert Store(tmp_path).record(found, "0" * 16) is None
    assert Store(tmp_path).manifest(found) == factory.MANIFEST


def test_runs_sort_by_time_and_newest_is_the_last_of_each_suite(tree: Path) -> None:
    store = Store(tree)
    assert store.suites() == ["other", "quickstart"]
    assert [run.name for run in store.runs("quickstart")] == [OLD, NEW]
    assert [(run.suite, run.name) for run in store.newest()] == [("other", OLD), ("quickstart", NEW)]


@pytest.mark.parametrize(("inside", "count"), [("", 3), ("quickstart", 2), (f"quickstart/{NEW}", 1)])
def test_the_root_may_be_a_tree_a_suite_or_a_run(tree: Path, inside: str, count: int) -> None:
    runs = Store(tree / inside).runs()
    assert len(runs) == count
    assert all(len(list(Store(tree).records(run))) == 2 for run in runs)


def test_run_names_sort_by_time() -> None:
    moments = [datetime(2026, 11, 21, 10, 56, second, tzinfo=UTC) for second in range(60)]
    names = [new_run_name(moment) for moment in moments]
    assert names == sorted(names)
    assert names[0].startswith("20261121T105600Z-")
    assert new_run_name(moments[0]) != new_run_name(moments[0])


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _forge(path: Path) -> None:
    path.write_text(path.read_text().replace('"seed":0', '"seed":1'))


def _from_the_future(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_truncate, "no whole JSON"),
        (_forge, "does not match"),
        (_from_the_future, "schema 99"),
        (lambda path: path.write_text("[1, 2]"), "a JSON object"),
        (lambda path: path.write_text('{"a": NaN}'), "no whole JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "no whole JSON"),
        (lambda path: path.write_text("[" * 100_000), "no whole JSON"),
        (lambda path: path.write_text("{}"), "schema None"),
    ],
)
def test_a_broken_record_is_named(tmp_path: Path, damage: object, words: str) -> None:
    good = factory.failed()
    folder = factory.write_run(tmp_path, [good])
    path = write_record(folder, factory.record())
    damage(path)  # type: ignore[operator]
    store = Store(tmp_path)
    with pytest.raises(ResultsError, match=words) as caught:
        list(store.records(store.runs()[0]))
    assert str(path) in str(caught.value)
    tolerant = Store(tmp_path, strict=False)
    assert list(tolerant.records(tolerant.runs()[0])) == [good]
    assert len(tolerant.problems) == 1
    assert str(path) in tolerant.problems[0]


def test_a_missing_root_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="run a suite first"):
        Store(tmp_path / "nothing").runs()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, "\ud800"])
def test_what_is_no_json_is_refused_and_leaves_the_old_file(tmp_path: Path, value: object) -> None:
    path = tmp_path / "a.json"
    write_json_atomic(path, {"old": 1})
    with pytest.raises(ResultsError, match=r"a\.json"):
        write_json_atomic(path, {"new": value})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_writing_into_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="cannot write"):
        write_json_atomic(tmp_path / "no" / "a.json", 1)


WRITER = """
import sys
from pathlib import Path
from qbench.results.store.atomic import write_json_atomic
from tests.results import factory
record = factory.record(layers=[factory.layer() for _ in range(20)])
path, data = Path(sys.argv[1]) / f"{record.cell.id}.json", record.to_dict()
print("ready", flush=True)
while True:
    write_json_atomic(path, data)
"""


def test_kill_nine_at_any_instant_leaves_only_whole_records(tmp_path: Path) -> None:
    folder = factory.write_run(tmp_path, [])
    expected = factory.record(layers=[factory.layer() for _ in range(20)])
    repository = Path(__file__).parents[3]
    chance = random.Random(7)
    interrupted = kills = 0
    while interrupted < 2 and kills < 40:
        kills += 1
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, cwd=repository, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.0, 0.03))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        interrupted += any(path.name.endswith(".tmp") for path in folder.iterdir())
        store = Store(tmp_path)
        assert all(record == expected for record in store.records(store.runs()[0]))
    with lock(folder):
        assert not list(folder.glob(".*.tmp"))
    assert interrupted, "no kill fell inside a write: nothing was tested"


HOLDER = """
import sys, time
from pathlib import Path
from qbench.results.store.lock import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ResultsError, match=rf"process {holder.pid} on ") as caught, lock(tmp_path):
        pass
    assert str(tmp_path) in str(caught.value)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with lock(tmp_path):
        pass
    with lock(tmp_path):  # and it is given back at the end of the block
        pass


def test_a_record_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        factory.record().status = "failed"  # type: ignore[misc]
