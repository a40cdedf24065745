"""A probe of somebody else's package, found by its entry point, in all places without another edit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path(__file__).parent / "plugin"
BROKEN = Path(__file__).parent / "broken_plugin"
SUITE = """\
name: words
models: [{source: "builtin:austen-6m"}]
methods: [{name: none}]
quality: false
latency: false
memory: false
energy: false
"""
ASKED = SUITE + "tokenizer: {repetitions: 4}\n"


def python(*words: str, folder: Path, plugin: Path | None = PLUGIN) -> subprocess.CompletedProcess[str]:
    """Runs python with the plugin installed, or without any."""
    environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(plugin or "")}
    words = (sys.executable, *words)
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment)


def qbench(*words: str, folder: Path, plugin: Path | None = PLUGIN) -> str:
    """Standard output of a command that must not fail."""
    done = python("-m", "qbench", *words, folder=folder, plugin=plugin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def written(folder: Path, text: str) -> Path:
    path = folder / "words.yaml"
    path.write_text(text)
    return path


def planned(folder: Path, text: str, plugin: Path | None = PLUGIN) -> dict[str, Any]:
    """The one cell of this suite."""
    written(folder, text)
    (cell,) = json.loads(qbench("plan", "words.yaml", "--json", folder=folder, plugin=plugin))
    return dict(cell)


def refused(folder: Path, text: str, plugin: Path | None = PLUGIN) -> str:
    """What is said about a suite that is wrong."""
    written(folder, text)
    done = python("-m", "qbench", "plan", "words.yaml", folder=folder, plugin=plugin)
    assert done.returncode == 2
    return " ".join(done.stderr.split())


def test_it_is_listed_with_its_package(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(qbench("list", "probes", "--json", folder=tmp_path))}
    assert rows["token_time"]["from"] == "token-time"
    assert rows["token_time"]["section"] == "tokenizer"
    assert rows["latency"]["from"] == "built-in"


def test_the_schema_has_its_section(tmp_path: Path) -> None:
    schema = json.loads(qbench("schema", folder=tmp_path))
    assert schema["properties"]["tokenizer"]["description"] == "time of the tokenizer"
    assert set(schema["$defs"]["TokenizerSpec"]["properties"]) == {"repetitions", "words"}
    assert "tokenizer" not in json.loads(qbench("schema", folder=tmp_path, plugin=None))["properties"]


def test_a_wrong_key_is_named_with_line_and_way_out(tmp_path: Path) -> None:
    said = refused(tmp_path, SUITE + "tokenizer:\n  repetition: 4\n")
    assert "words.yaml:9:3: tokenizer.repetition = 4: unknown key; did you mean 'repetitions'?" in said
    said = refused(tmp_path, SUITE + "tokenizer: {words: 0}\n")
    assert "words.yaml:8:20: tokenizer.words = 0: should be greater than or equal to 1" in said
    assert "or true or false" in refused(tmp_path, SUITE + "tokenizer: 5\n")
    said = refused(tmp_path, SUITE + "tokeniser: {}\n")
    assert "unknown key; did you mean 'tokenizer'?" in said


def test_its_settings_enter_the_id_and_no_other_cell_changes(tmp_path: Path) -> None:
    alone = planned(tmp_path, SUITE, plugin=None)
    assert planned(tmp_path, SUITE) == alone
    assert planned(tmp_path, SUITE + "tokenizer: false\n") == alone
    asked = planned(tmp_path, ASKED)
    assert asked["sections"] == {"tokenizer": {"repetitions": 4, "words": 100}}
    others = [planned(tmp_path, SUITE + "tokenizer: true\n"), planned(tmp_path, ASKED.replace("4", "5"))]
    assert len({cell["cell_id"] for cell in (alone, asked, *others)}) == 4


def test_a_plugin_that_does_not_load_is_a_row_and_an_error_where_it_is_used(tmp_path: Path) -> None:
    rows = json.loads(qbench("list", "probes", "--json", folder=tmp_path, plugin=BROKEN))
    (row,) = [row for row in rows if row["name"] == "clairvoyance"]
    assert "cannot be used" in row["what"]
    assert "clairvoyance_that_nobody_installed" in row["what"]
    assert planned(tmp_path, SUITE, plugin=BROKEN) == planned(tmp_path, SUITE, plugin=None)
    said = refused(tmp_path, SUITE + "clairvoyance: true\n", plugin=BROKEN)
    assert "words.yaml:8:1: clairvoyance" in said
    assert "its probe cannot be used (broken-probe)" in said
    assert "No module named 'clairvoyance_that_nobody_installed'" in said


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that measured with the plugin."""
    folder = tmp_path_factory.mktemp("run")
    written(folder, ASKED)
    qbench("run", "words.yaml", "--quiet", folder=folder)
    return folder


def sample_of(run: Path) -> dict[str, Any]:
    """The probe's samples in the one record of the run."""
    (path,) = run.glob("results/words/*/*[0-9a-f].json")
    record = json.loads(path.read_bytes())
    assert record["status"] == "ok"
    assert "token_time" in record["phases"]
    assert path.stem == record["cell_id"] == planned(run, ASKED)["cell_id"]
    return dict(record["samples"]["token_time"])


@pytest.mark.slow
def test_a_run_has_it_in_record_and_samples(run: Path) -> None:
    sample = sample_of(run)
    assert len(sample["seconds"]) == 4
    assert sample["tokens"] >= 100
    _has_samples(run, sample)
    _reads_without_the_plugin(run)


@pytest.mark.slow
def test_a_run_has_it_in_frame_page_and_gate(run: Path) -> None:
    _has_columns(run, sample_of(run))
    _is_gated(run, next(run.glob("results/words/*")))


def _has_samples(folder: Path, sample: dict[str, Any]) -> None:
    code = (
        "import qbench; frame = qbench.samples('results');"
        "own = frame[frame['probe'] == 'token_time'];"
        "print(own[['quantity', 'unit', 'index', 'value']].to_json(orient='values'))"
    )
    expected = [["tokenize_s", "s", place, value] for place, value in enumerate(sample["seconds"])]
    done = python("-c", code, folder=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    assert [row[3] for row in found] == pytest.approx([row[3] for row in expected], rel=1e-6)


def _has_columns(folder: Path, sample: dict[str, Any]) -> None:
    code = (
        "import qbench; print(qbench.load('results').iloc[0][['tokenizer_s', 'tokenizer_tokens']].to_json())"
    )
    done = python("-c", code, folder=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tokenizer_tokens"] == sample["tokens"]
    qbench("report", "results", "-o", "page.html", folder=folder)
    assert "tokenizer_tokens" in (folder / "page.html").read_text()


def _reads_without_the_plugin(folder: Path) -> None:
    done = python("-c", "import qbench; print(len(qbench.load('results')))", folder=folder, plugin=None)
    assert done.stdout.strip() == "1", done.stderr


def _is_gated(folder: Path, run: Path) -> None:
    """Twice the tokens are worse than the baseline, from the metric's own threshold on."""
    qbench("baseline", "accept", "results", "--reason", "the first", folder=folder)
    against = ("-m", "qbench", "gate", "words.yaml", "--baseline", "results", "--results")
    same = python(*against, str(run), folder=folder)
    assert same.returncode == 0, same.stdout + same.stderr
    later = folder / "later" / "words" / run.name
    shutil.copytree(run, later)
    (path,) = later.glob("*[0-9a-f].json")
    record = json.loads(path.read_bytes())
    record["samples"]["token_time"]["tokens"] *= 2
    path.write_text(json.dumps(record))
    worse = python(*against, str(later), folder=folder)
    assert worse.returncode == 1, worse.stdout + worse.stderr
    assert "tokenizer_tokens" in worse.stdout
