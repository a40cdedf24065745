"""Tasks in a plan: hashed, refused with file and line where they are unknown, and run by a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qbench.cell import Cell, ModelRef
from qbench.errors import SuiteError
from qbench.probes.tasks.definitions import registry_folder
from qbench.run.planning.devices import Devices
from qbench.run.planning.plan import Planner
from tests.run.conftest import Run, suite

NONE = Devices([], "NVML: no driver")
SHIPPED = {"names": ["persuasion_continuation"], "include": "builtin:tasks"}


def planned(tmp_path: Path, tasks: Any) -> Cell:
    loaded = suite([{"name": "none"}], tmp_path, **({} if tasks is None else {"tasks": tasks}))
    return Planner(loaded, NONE).plan()[0].cell


def test_an_id_follows_the_settings_and_the_files_but_not_the_folder(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "t.yaml").write_text("task: t\ndataset_path: org/set\n")
    here = {"names": ["t"], "include": "./one"}
    first = planned(tmp_path, here)
    assert planned(tmp_path, {**here, "include": "./two"}).id == first.id
    others = [
        {**here, "limit": 3},
        {**here, "num_fewshot": 1},
        {**here, "batch_size": 2},
        {"names": ["hellaswag"]},
    ]
    ids = {planned(tmp_path, one).id for one in others}
    (tmp_path / "one" / "t.yaml").write_text("task: t\ndataset_path: org/other\n")
    ids |= {planned(tmp_path, here).id, planned(tmp_path, None).id, first.id}
    assert len(ids) == 7


def test_a_cell_without_tasks_has_the_id_that_it_always_had() -> None:
    old = Cell(ModelRef("m", "builtin:m", "sha256:0"), "none", {}, "bf16", "cpu", "none")
    assert "tasks" not in old.identity()
    assert old.id == "8340fd069dcc9924"


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"names": ["arc_esy"]}, r"tiny\.yaml:\d+.*tasks\.names\[0\].*'arc_easy'"),
        ({"names": ["a"], "include": "./gone"}, r"tiny\.yaml:\d+.*include.*no such folder"),
        ({"names": ["a", "a"]}, r"tiny\.yaml:\d+.*stands here twice"),
        ({"names": []}, r"tiny\.yaml:\d+.*is empty"),
        ({"name": ["a"]}, r"tiny\.yaml:\d+.*did you mean 'names'"),
        (True, r"tasks\.names.*is missing"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(
    tmp_path: Path, tasks: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qbench.probes.tasks.definitions.registry_folder", lambda: registry_folder() / "arc")
    with pytest.raises(SuiteError, match=message):
        planned(tmp_path, tasks)


def test_a_worker_evaluates_and_every_method_for_itself(run: Run) -> None:
    methods = [{"name": "none"}, {"name": "zeropoint", "num_bits": 2, "strategy": "group", "group_size": 64}]
    outcome = run(methods, quality=False, tasks={**SHIPPED, "limit": 6})
    said = [record.samples["tasks"]["tasks"][0]["log_likelihoods"] for record in outcome.records]
    assert [record.status for record in outcome.records] == ["ok", "ok"]
    assert all(len(one) == 6 for one in said)
    assert said[0] != said[1]
