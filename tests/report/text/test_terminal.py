"""The terminal's table: numbers, failures with their reasons, choice, order and width; and no markup out of
records."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from qbench.cell import ModelRef
from qbench.cli.app import app
from qbench.errors import ResultsError
from qbench.report.text.sanitize import plain
from qbench.report.text.terminal import Wanted, table
from qbench.report.view.digits import significant, with_interval
from qbench.results.frames.frame import from_records
from qbench.results.store.record import Record
from qbench.results.table.columns import usual
from qbench.suite.rules import parse_filter
from tests.results import factory
from tests.results.many import many

MANY = from_records(many(40, layers=3))


def printed(*records: Record, **wanted: Any) -> str:
    return drawn(from_records(records), **wanted)


def drawn(frame: pd.DataFrame, width: int = 110, **wanted: Any) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(frame, Wanted(**wanted)))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_numbers_units_and_reasons() -> None:
    text = printed(factory.record(), factory.failed())
    assert "50.6" in text
    assert "11.6" in text
    assert "MB ↓" in text
    assert "failed gptq: ValueError: group_size 7" in text
    assert "Model: austen-6m" in text


def test_records_are_not_markup() -> None:
    assert "[red]gone[/red]" in printed(factory.failed(reason="[red]gone[/red]"))
    hostile = factory.record(cell=factory.cell("absmax", label="[bold]x[/bold]"))
    assert "[bold]x[/bold]" in printed(hostile, columns=["perplexity", "label"])


def test_all_failed_and_none_at_all_print() -> None:
    assert "oom" in printed(factory.failed("awq", "oom", "4 GB"))
    assert "No cell has finished yet." in printed()


def test_failures_of_one_reason_are_one_line() -> None:
    text = printed(*(factory.failed(f"m{place}", "oom", "4 GB") for place in range(9)))
    assert "oom m0, m1, m2 and 6 more: 4 GB" in text


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_whatever_the_width_no_line_is_longer_and_no_number_is_cut(width: int) -> None:
    text = drawn(MANY, width=width, filters=[parse_filter("dtype=bf16,model=austen-6m")])
    assert max(cell_len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text
    frame = MANY
    picked = frame[(frame["dtype"] == "bf16") & (frame["model"] == "austen-6m") & (frame["status"] == "ok")]
    assert len(picked) > 10
    for bits in picked["bits_per_weight"]:
        assert f" {significant(bits, 3)} " in text
    if width < 80:
        assert "No room for: " in text
    if width == 200:
        assert "No room for: " not in text
        for _, row in picked.iterrows():
            value, spread = with_interval(
                row["perplexity_ratio"], row["perplexity_ratio_low"], row["perplexity_ratio_high"], 4
            )
            assert (f"{value} {spread}" if spread else value) in text


USUAL = [column.name for column in usual("terminal")]


@pytest.mark.parametrize(
    "name", [name for name in USUAL if name not in ("task_accuracy", "energy_j_per_token")]
)
@pytest.mark.parametrize("sign", ["", "-"])
def test_sorting_is_that_of_the_numbers_with_nulls_last(name: str, sign: str) -> None:
    text = drawn(MANY, width=400, sort=sign + name, columns=["cell_id", name])
    frame = MANY
    expected = frame.sort_values(name, ascending=not sign, kind="stable", na_position="last")
    shown = [line for line in text.splitlines() if any(one in line for one in frame["cell_id"])]
    ids = [next(one for one in frame["cell_id"] if one in line) for line in shown]
    values = frame.set_index("cell_id")[name]
    assert [values[one] for one in ids if values.notna()[one]] == expected[name].dropna().tolist()
    assert all(values.isna()[one] for one in ids[len(expected[name].dropna()) :])


def test_filters_are_those_of_a_run_and_status() -> None:
    frame = MANY
    for text, mask in {
        "method=absmax,num_bits=4": (frame["method"] == "absmax")
        & frame["params"].str.contains('"num_bits": 4'),
        "status=failed": frame["status"] == "failed",
        "model=smol*,dtype=fp32": frame["model"].str.startswith("smol") & (frame["dtype"] == "fp32"),
        "act_order=true": frame["params"].str.contains('"act_order": true'),
        "method=none,method=hqq": frame["method"].isin(["none", "hqq"]),
        f"cell_id={frame['cell_id'][5]}": frame["cell_id"] == frame["cell_id"][5],
    }.items():
        out = drawn(MANY, width=300, filters=[parse_filter(text)], columns=["cell_id"])
        assert {one for one in frame["cell_id"] if one in out} == set(frame["cell_id"][mask]), text
        assert mask.any(), text


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"sort": "perplexty"}, "cannot sort by 'perplexty'; did you mean 'perplexity'"),
        ({"sort": "-wieght_bytes"}, "did you mean 'weight_bytes'"),
        (
            {"columns": ["perplexity", "kl_divergance"]},
            "no column 'kl_divergance'; did you mean 'kl_divergence'",
        ),
        ({"filters": [parse_filter("metod=hqq")]}, "no cell has 'metod'; did you mean 'method'"),
        ({"filters": [parse_filter("method=absmx")]}, "no cell has method 'absmx'; did you mean 'absmax'"),
        ({"filters": [parse_filter("method=none,num_bits=4")]}, "no cell matches all of them"),
    ],
)
def test_a_wrong_word_is_an_error_with_the_near_one(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(ResultsError, match=said):
        drawn(MANY, **wanted)


def test_the_command(tmp_path: Path) -> None:
    factory.write_run(tmp_path, [factory.record(), factory.record("absmax"), factory.failed()])
    run = CliRunner().invoke(
        app, ["show", str(tmp_path), "--sort=-bits_per_weight", "--columns=bits_per_weight,reason"]
    )
    assert run.exit_code == 0, run.output
    lines = run.output.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["none", "absmax", "gptq"]
    assert "ValueError: group_size 7" in lines[4]
    one = CliRunner().invoke(app, ["show", str(tmp_path), "--filter", "method=absmax"])
    assert "absmax" in one.output
    assert "none" not in one.output.splitlines()[2]


ACTING = "\x1b[31mRED\x1b]0;pwned\x07\x00 one\r\ntwo \u202egnp \ud800"


def hostile_runs(tmp_path: Path, text: str) -> tuple[Path, Path]:
    """Two sides: a cell of this label that differs, one that failed for it on the other, and one only there;

    the model and facts of the machine hold it too.
    """
    model = ModelRef(name=text, source="builtin:x", weights="sha256:0")
    where = {"label": text, "model": model, "dtype": "bf16"}
    one, other = factory.cell("absmax", **where), factory.cell("hqq", **where, seed=1)
    base = factory.record(cell=factory.cell(model=model), suite=text)
    a = [base, factory.record(cell=one), factory.record(cell=other)]
    worse = factory.samples(perplexity=factory.perplexity([2000.0] * 8))
    b = [
        factory.record(cell=one, samples=worse),
        dataclasses.replace(factory.failed(reason=text), cell=other),
    ]
    folders = tmp_path / "a", tmp_path / "b"
    for folder, records in zip(folders, (a, b), strict=True):
        run = factory.write_run(folder, [])
        environment = {"cpu": f"{folder.name} {text}"}
        (run / "manifest.json").write_text(json.dumps({**factory.MANIFEST, "environment": environment}))
        for record in records:  # as a program that is not qbench may write them: with half a surrogate pair
            (run / f"{record.cell.id}.json").write_text(json.dumps(record.to_dict()))
    return folders


@pytest.mark.parametrize("text", [ACTING.removesuffix(" \ud800"), 1_000_000 * "x", 100_000 * "[b]y\n"])
@pytest.mark.parametrize("how", ["show", "columns", "compare"])
def test_no_text_of_a_record_acts_on_the_terminal(how: str, text: str, tmp_path: Path) -> None:
    a, b = map(str, hostile_runs(tmp_path, text))
    words = {
        "show": ["show", b],
        "columns": ["show", b, "--columns=perplexity,label,reason,suite,params"],
        "compare": ["compare", a, b],
    }[how]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert [one for one in done.output if not one.isprintable() and one != "\n"] == []
    assert len(done.output) < 20_000
    if len(text) < 100:
        folded = "".join(done.output.split())
        assert "\\x1b[31mRED\\x1b]0;pwned\\x07\\x00onetwo\\x202egnp" in folded
        assert "failed" in folded


def test_a_line_of_a_failure_stays_one_line() -> None:
    text = printed(factory.failed(reason="first\n\n  second\r\nthird"))
    assert "failed gptq: first second third" in text


def test_what_cannot_be_encoded_is_shown_as_its_code() -> None:
    assert plain(ACTING).endswith("\\xd800")
    plain(ACTING).encode()
    assert plain("a\tb  c") == "a b c"
    assert plain(700 * "\x00", 600) == (150 * "\\x00")[:599] + "…"
