"""Folders as they ought not to be: whoever reads them gives a right answer or an error that names the file.

Each reader is called as a user calls it; what is expected of each is written out, never "it did not crash".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import qbench
from qbench.cli.app import app
from qbench.errors import ResultsError
from qbench.report.leaderboard.leaderboard import write_report
from qbench.results.frames.frame import from_records
from qbench.results.frames.layer_frame import layers_of
from tests.report.leaderboard.test_html import Reader
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


MISSHAPEN = {
    ("samples", "perplexity"): (None, "samples.perplexity is null, not an object"),
    ("samples", "perplexity", "nll"): (5, "samples.perplexity.nll is a whole number, not a list or null"),
    ("samples", "latency", "runs"): ("x", "samples.latency.runs is a text, not a list or null"),
    ("samples",): ([], "samples is a list, not an object"),
    ("layers",): ([1, None], "layers[0] is a whole number, not an object"),
    ("suite",): (5, "suite is a whole number, not a text"),
    ("run",): (None, "run is null, not a text"),
    ("started_at",): ("yesterday", "started_at is 'yesterday', not a time"),
    ("ended_at",): ("2026-02-30T10:00:00+00:00", "ended_at is '2026-02-30T10:00:00+00:00', not a time"),
    ("cell", "quality"): (5, "cell.quality is a whole number, not an object or null"),
    ("cell", "label"): (True, "cell.label is true or false, not a text"),
    ("status",): (["ok"], "status ['ok'] is none of ok, failed"),
}
"""Where valid JSON holds another type → what stands there, what is said."""


def changed(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """The JSON of a record, with this value there."""
    data: dict[str, Any] = json.loads(json.dumps(factory.record("absmax").to_dict()))
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return data


@pytest.mark.parametrize("path", MISSHAPEN, ids=".".join)
@pytest.mark.parametrize("name", ["load", "show"])
def test_a_record_of_another_shape_is_named_and_left_out(
    name: str, path: tuple[str, ...], folder: Path
) -> None:
    value, said = MISSHAPEN[path]
    data = changed(path, value)
    run = factory.write_run(folder, [factory.record()])
    file = run / f"{data['cell_id']}.json"
    file.write_text(json.dumps(data))
    if name == "load":
        with pytest.raises(ResultsError, match=re.escape(said)) as caught:
            qbench.load(folder)
        assert file.name in str(caught.value)
        frame = qbench.load(folder, strict=False)
        assert list(frame["method"]) == ["none"]
        assert said in " ".join(frame.attrs["problems"])
    else:
        shown = "".join(READERS["show"](folder).split())
        assert "".join(said.split()) in shown
        assert file.name in shown


def test_what_is_wrong_still_deeper_is_named_too(folder: Path) -> None:
    data = changed(("samples", "perplexity", "tokens"), ["x"] * factory.WINDOWS)
    run = factory.write_run(folder, [factory.record()])
    (run / f"{data['cell_id']}.json").write_text(json.dumps(data))
    for name in ("load", "show", "markdown"):
        with pytest.raises(ResultsError, match=rf"quickstart/.*{data['cell_id']}\.json does not hold"):
            READERS[name](folder)


def test_so_is_it_where_pictures_look_first(folder: Path) -> None:
    data = changed(("layers",), [{**factory.layer(), "executed": [None]}])
    run = factory.write_run(folder, [factory.record()])
    (run / f"{data['cell_id']}.json").write_text(json.dumps(data))
    with pytest.raises(ResultsError, match=rf"{data['cell_id']}\.json does not hold"):
        write_report(folder, folder.parent / "page.html")


def test_losses_of_no_token_are_null_with_the_reason() -> None:
    quality = factory.perplexity(tokens=[0] * factory.WINDOWS, words=9)
    record = factory.record("absmax", samples=factory.samples(perplexity=quality))
    row = from_records([factory.record(), record]).iloc[1]
    missing = json.loads(row["missing"])
    for name in ("perplexity", "nll_per_token", "perplexity_ratio", "perplexity_low", "word_perplexity"):
        assert pd.isna(row[name])
        assert missing[name] == "no token was scored"
    apart = {"scored": [0] * 8, "kl": [0.0] * 8, "agree": [0] * 8, "delta_p_squared": [0.0] * 8,
             "kl_quantiles": {}, "kl_max": None}  # fmt: skip
    quality = factory.perplexity(divergence=apart)
    row = from_records([factory.record("absmax", samples=factory.samples(perplexity=quality))]).iloc[0]
    assert row["perplexity"] > 1
    assert pd.isna(row["kl_divergence"])
    assert json.loads(row["missing"])["top1_agreement"] == "no token was scored"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [10**19, 2**63, 1e300])
def test_bytes_beyond_64_bits_are_null_with_the_reason(size: float) -> None:
    record = factory.record("absmax", samples=factory.samples(memory=factory.memory(weight_bytes=int(size))))
    row = from_records([factory.record(), record]).iloc[1]
    for name in ("weight_bytes", "weight_bytes_ratio"):
        assert pd.isna(row[name])
        assert json.loads(row["missing"])[name] == "larger than a whole number of 64 bits"
    layer = {**factory.layer(), "group_size": 10**19}
    assert layers_of([factory.record("absmax", layers=[layer])])["group_size"].isna().all()
