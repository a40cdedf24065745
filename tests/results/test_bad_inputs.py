"""Folders as they ought not to be: whoever reads them gives a right answer or an error that names the file.

Each reader is called as a user calls it; what is expected of each is written out, never "it did not crash".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import qbench
from qbench.cli.app import app
from qbench.errors import ResultsError
from tests.report.test_html import Reader
from tests.results import factory

Read = Callable[[Path], str]
"""A folder → all that the reader said of it, as text."""


def command(*words: str) -> Read:
    def read(folder: Path) -> str:
        done = CliRunner().invoke(app, [word.replace("@", str(folder)) for word in words])
        if isinstance(done.exception, ResultsError):
            raise done.exception
        assert done.exit_code == 0, done.exception
        return done.output

    return read


def page(folder: Path) -> str:
    target = folder.parent / "page.html"
    command("compare", "@", "@", "--html", str(target))(folder)
    text = Reader(target.read_text()).text
    assert len(text) > 200
    return text


READERS: dict[str, Read] = {
    "load": lambda folder: qbench.load(folder).to_csv(),
    "samples": lambda folder: qbench.samples(folder).to_csv(),
    "layers": lambda folder: qbench.layers(folder).to_csv(),
    "show": command("show", "@"),
    "markdown": command("report", "@", "--format", "markdown"),
    "compare": page,
    "export": command("export", "@", "-o", "@/../x.parquet"),
}
TOLERANT = {"show", "markdown"}
"""Those that leave a broken file out and say so; the others refuse."""
OLD = "record schema 0; this qbench reads 1"
BROKEN = {
    "truncated": '{"schema": 1, "cell": {"model"',
    "no record": '{"schema": 1, "hello": "world"}',
    "a list": "[1, 2]",
    "empty": "",
    "older": None,
    "newer": None,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


def spoil(run: Path, how: str) -> str:
    """Puts a broken file into a run's folder and returns its name."""
    text = BROKEN[how]
    if text is None:
        data = factory.record("absmax").to_dict()
        text = json.dumps({**data, "schema": 0 if how == "older" else 2})
    (run / "0123456789abcdef.json").write_text(text)
    return "0123456789abcdef.json"


@pytest.mark.parametrize("name", READERS)
def test_no_folder_and_an_empty_one_are_errors_that_name_it(name: str, folder: Path) -> None:
    with pytest.raises(ResultsError, match=r"no results folder .*results; run a suite first"):
        READERS[name](folder)
    folder.mkdir()
    with pytest.raises(ResultsError, match=r"no runs in .*results"):
        READERS[name](folder)


@pytest.mark.parametrize("name", READERS)
def test_a_run_that_has_stored_no_cell_yet(name: str, folder: Path) -> None:
    factory.write_run(folder, [])
    said = READERS[name](folder)
    expected = {"markdown": "stored no cell yet", "compare": "nothing was compared", "show": "No cell",
                "export": "0 cells"}  # fmt: skip
    assert expected.get(name, "") in said
    if name in ("load", "samples", "layers"):
        assert said.startswith(",suite,run,cell_id,")
        assert said.count("\n") == 1


@pytest.mark.parametrize("name", READERS)
def test_a_single_cell(name: str, folder: Path) -> None:
    factory.write_run(folder, [factory.record("absmax")])
    said = READERS[name](folder)
    expected = {"layers": "model.layers.0.self_attn.q_proj", "compare": "Identical bit for bit: 1 of 1 cells",
                "export": "1 cells"}  # fmt: skip
    assert expected.get(name, "absmax") in said


@pytest.mark.parametrize("name", READERS)
def test_all_failed(name: str, folder: Path) -> None:
    factory.write_run(folder, [factory.failed("gptq", "oom", "killed at 4 GB"), factory.failed("hqq")])
    said = READERS[name](folder)
    if name in ("samples", "layers"):
        assert said.count("\n") == 1
    elif name == "export":
        assert "2 cells" in said
    else:
        assert "killed at 4 GB" in said
        assert "group" in said
    if name == "compare":
        assert "nothing was compared" in said.lower()


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("name", READERS)
def test_a_broken_file_is_named(name: str, how: str, folder: Path) -> None:
    run = factory.write_run(folder, [factory.record(), factory.record("absmax")])
    broken = spoil(run, how)
    if name in TOLERANT:
        said = READERS[name](folder)
        assert broken in "".join(said.split()), "the file is not named"
        assert "absmax" in said, "what could be read is gone"
        return
    with pytest.raises(ResultsError, match=broken) as caught:
        READERS[name](folder)
    if how in ("older", "newer"):
        assert "this qbench reads 1" in str(caught.value)
    if how in ("truncated", "empty"):
        assert "is no whole JSON file" in str(caught.value)


@pytest.mark.parametrize("name", ["load", "samples", "layers"])
def test_reading_on_purpose_past_broken_files(name: str, folder: Path) -> None:
    run = factory.write_run(folder, [factory.record(), factory.record("absmax")])
    spoil(run, "older")
    (run / "manifest.json").write_text("{")
    frame = getattr(qbench, name)(folder, strict=False)
    assert len(frame) > 0
    assert OLD in " ".join(frame.attrs["problems"])
    whole = factory.write_run(folder.parent / "whole", [factory.record(), factory.record("absmax")])
    assert len(frame) == len(getattr(qbench, name)(whole))
