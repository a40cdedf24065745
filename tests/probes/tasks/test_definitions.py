"""Definitions of tasks: names as lm-eval's own index has them, hashes that follow every file that counts."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from qbench.data import tasks_recipe
from qbench.errors import ModelError
from qbench.models.builtin import DATA
from qbench.probes.tasks.definitions import Tasks, registry_folder, search_folders, task_folder
from qbench.probes.tasks.task_files import read_task


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "data/a.jsonl", '{"q": "x", "a": "y"}\n')
    write(tmp_path / "base.yml", "output_type: multiple_choice\ntag: [mine]\n")
    write(
        tmp_path / "one.yaml",
        "include: base.yml\ntask: one\ndataset_path: json\n"
        "dataset_kwargs: {data_files: {test: data/a.jsonl}}\n",
    )
    write(
        tmp_path / "two.yaml",
        "include: base.yml\ntask: two\ndataset_path: o/s\ndoc_to_text: !function f.g\n",
    )
    write(tmp_path / "f.py", "def g(doc): return doc['q']\n")
    write(tmp_path / "both.yaml", "group: both\ntask: [one, {group: inner, task: [two, hellaswag]}]\n")
    return tmp_path


def names(folder: Path, name: str) -> set[str]:
    return {path.name for path in Tasks(folder).define(name).files}


def test_a_definition_holds_every_file_that_it_hangs_on(folder: Path) -> None:
    assert names(folder, "one") == {"one.yaml", "base.yml", "a.jsonl"}
    assert names(folder, "two") == {"two.yaml", "base.yml", "f.py"}
    assert names(folder, "mine") == {"one.yaml", "two.yaml", "base.yml", "a.jsonl", "f.py"}
    group = names(folder, "both")
    assert group == names(folder, "mine") | {"both.yaml", "hellaswag.yaml", "utils.py"}
    found = Tasks(folder).define("both")
    assert set(found.defined_in) == {"one", "two", "hellaswag"}
    assert search_folders([found], folder) == [registry_folder() / "hellaswag", folder]


@pytest.mark.parametrize("file", ["one.yaml", "base.yml", "data/a.jsonl"])
def test_the_hash_follows_each_file_and_not_the_place(folder: Path, file: str, tmp_path: Path) -> None:
    before = Tasks(folder).define("one").sha256
    other = tmp_path / "elsewhere"
    other.mkdir()
    for path in ("one.yaml", "base.yml", "data/a.jsonl"):
        write(other / path, (folder / path).read_text())
    assert Tasks(other).define("one").sha256 == before
    write(other / file, (other / file).read_text() + "\n")
    assert Tasks(other).define("one").sha256 != before


def test_local_paths_are_relative_to_the_file_that_names_them(folder: Path) -> None:
    write(folder / "deep/three.yaml", "include: ../one.yaml\ntask: three\n")
    data = Tasks(folder).define("three").overlays["three"]
    assert data["dataset_kwargs"]["data_files"] == {"test": [str(folder / "data/a.jsonl")]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: x\ndataset_path: json\ndataset_kwargs: {data_files: gone.jsonl}\n", r"gone\.jsonl.*no file"),
        ("task: x\ndataset_path: ./gone\n", "gone.*no folder"),
        ("include: x.yaml\ntask: x\n", "includes itself"),
        ("- a\n", "not a mapping"),
        ("task: [\n", "x.yaml"),
        ("include: gone.yaml\n", "gone.yaml"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path / "x.yaml", text)
    with pytest.raises(ModelError, match=message):
        Tasks(tmp_path).define("x")


def test_an_unknown_name_gives_near_misses_and_the_folder_s_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "qbench.probes.tasks.definitions.registry_folder", lambda: registry_folder() / "hellaswag"
    )
    with pytest.raises(ModelError, match=r"'helaswag' in lm-eval.*both, mine, one, two.*'hellaswag'"):
        Tasks(folder).define("helaswag")
    with pytest.raises(ModelError, match="no such folder"):
        Tasks(folder / "gone")


def test_the_folder_s_names_come_before_lm_eval_s(folder: Path) -> None:
    write(folder / "h.yaml", "task: hellaswag\ndataset_path: org/mine\n")
    assert names(folder, "hellaswag") == {"h.yaml"}


@pytest.mark.slow
def test_the_registry_has_the_names_and_files_of_lm_eval_s_own_index() -> None:
    code = (
        "import json; from lm_eval.tasks import TaskManager; index = TaskManager().task_index\n"
        "print(json.dumps({n: str(e.yaml_path) if e.yaml_path else None for n, e in index.items()}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout)
    ours = Tasks()
    assert len(theirs) > 10_000
    assert (
        len(set(theirs) ^ set(ours._whole_registry)) <= 5
    )  # three files that give a tag and a task one name
    for name in sorted(theirs)[::50]:
        if theirs[name] is not None:
            definition = ours.define(name)
            assert Path(theirs[name]).resolve() in definition.paths
            assert Path(theirs[name]).resolve() in definition.files
    # Every one of these tasks owes the tag to a template that it includes.
    assert len(ours.define("acp_bench").defined_in) == 14
    assert set(ours.define("ai2_arc").defined_in) == {"arc_easy", "arc_challenge"}


def test_planning_needs_neither_torch_nor_lm_eval() -> None:
    code = (
        "import sys; from qbench.probes.tasks.definitions import Tasks; Tasks().define('hellaswag')\n"
        "sys.exit(', '.join({'torch', 'lm_eval', 'datasets'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_shipped_task_is_what_its_recipe_makes_and_every_answer_stands_in_the_book() -> None:
    text = (DATA / "persuasion.txt").read_text(encoding="utf-8")
    path = DATA / "tasks" / "persuasion_continuation.jsonl"
    items = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert items == tasks_recipe.items(text)
    assert path.stat().st_size < 250_000
    assert len(items) >= 200
    flat = " ".join(text.split())
    for item in items:
        follow = [choice for choice in item["choices"] if f"{item['context']} {choice}" in flat]
        assert follow == [item["choices"][item["answer"]]]
    answers = [item["answer"] for item in items]
    assert all(80 <= answers.count(place) <= 120 for place in range(4))
    folder = task_folder("builtin:tasks")
    assert folder == DATA / "tasks"
    assert Tasks(folder).define("persuasion_continuation").overlays


def test_a_hash_is_of_names_and_contents(tmp_path: Path) -> None:
    path = write(tmp_path / "t.yaml", yaml.safe_dump({"task": "t"}))
    assert read_task(path).files == {path}
    line = f"t.yaml\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
    assert Tasks(tmp_path).define("t").sha256 == hashlib.sha256(line.encode()).hexdigest()
