"""Displays hear the same events; each says what its reader needs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from qbench.cell import Cell, ModelRef
from qbench.cli.progress import Display, JsonLines, LiveTable, Plain, display, headline
from qbench.results.store.folders import Run
from qbench.results.store.record import Record
from qbench.run.planning.plan import Planned
from qbench.run.runner import Outcome

RUN = Run("s", "r", Path("results/s/r"))


def _cell(label: str) -> Cell:
    return Cell(ModelRef("m", "builtin:m", "sha256:0"), label, {}, "bf16", "cpu", label)


OK, BAD, OLD = _cell("good"), _cell("[bold]bad"), _cell("old")
PLANNED = [Planned(OK, "run"), Planned(BAD, "run"), Planned(OLD, "done")]
RECORDS = [
    Record(
        OK,
        "s",
        "r",
        "ok",
        phases={"load": 1.0},
        samples={"perplexity": {"unit": "nat", "protocol": "gptq", "nll": [20.0], "tokens": [10]}},
    ),
    Record(BAD, "s", "r", "failed", "RuntimeError: [red] broken"),
]


def _play(shown: Display) -> None:
    with shown:
        shown.begin(RUN, PLANNED)
        for record in RECORDS:
            shown.phase(record.cell, "load")
            shown.tick()
            shown.record(record)


def test_plain_lines_count_and_give_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Plain()
    _play(shown)
    shown.end(Outcome(RUN, PLANNED, RECORDS), Path("board.html"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "run s/r: 3 cells, 1 done before"
    assert lines[1].startswith("[1/2] ok")
    assert "perplexity 7.39" in lines[1]  # exp(20/10)
    assert "[red] broken" in lines[2]
    assert lines[3] == "1 ok, 1 failed, 1 done before"
    assert lines[4] == "leaderboard: board.html"


def test_json_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    _play(JsonLines())
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["begin", "phase", "record", "phase", "record"]
    assert events[-1]["reason"] == "RuntimeError: [red] broken"


def test_the_live_table_shows_markup_as_text() -> None:
    stream = io.StringIO()
    shown = LiveTable(Console(file=stream, width=160, force_terminal=True))
    _play(shown)
    text = stream.getvalue()
    assert "[bold]bad" in text
    assert "[red] broken" in text


def test_quiet_prints_the_path_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shown = display(quiet=True, json=False)
    _play(shown)
    shown.end(Outcome(RUN, PLANNED, RECORDS), Path("board.html"))
    assert capsys.readouterr().out == "board.html\n"


def test_a_headline_leaves_out_what_was_not_measured() -> None:
    assert headline(RECORDS[1]) == ""
