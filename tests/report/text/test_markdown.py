"""Markdown for a comment: a renderer makes of it what the frame holds, whatever stands in a record."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from qbench.cli.app import app
from qbench.errors import ResultsError
from qbench.report.text.markdown import markdown, read_markdown
from qbench.report.text.markdown_text import LIMIT, NOTHING, escaped
from qbench.results.frames.frame import from_records
from tests.results import factory
from tests.results.many import many

HOSTILE = [
    "<script>alert(1)</script>", "</details><h1>x</h1>", "a | b | c", "`code` ``x``", "**bold** _it_ __x__",
    "[click](javascript:alert(1))", "![pic](http://evil/x.png)", "<img src=x onerror=alert(1)>", "~~gone~~",
    "# head", "- list", "1. one", "> quote", "&lt;b&gt; &amp;", "line\nbreak\r\n\n| new | row |", "\\| \\`",
    "<https://evil>", "| --- |", "$x^2$", "=====", "+ plus", "\\",
]  # fmt: skip
FOUND_LATER = [
    "@octocat",
    "see #12",
    "GH-7",
    "https://evil.example/x",
    "www.evil.example",
    ":tada: x",
    "a@b.example",
]
OURS = {"h3", "p", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "strong", "code"}
OWN_HTML = {"details", "summary", "sub"}


class Reader(HTMLParser):
    """Tags, and the text of every table cell and list item."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.items: list[str] = []
        self.all = ""
        self._open: list[str] = []
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert all(name == "style" and value in ("text-align:right",) for name, value in attrs), attrs
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "li":
            self.items.append("")
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self.all += data
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data
        elif "li" in self._open:
            self.items[-1] += data


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.parametrize("text", [*HOSTILE, *FOUND_LATER])
def test_a_text_comes_out_of_a_renderer_as_it_went_in(text: str) -> None:
    shown = Reader(
        f"| a | b |\n| --- | ---: |\n| {escaped(text)} | 1 |\n\n- {escaped(text)}\n\n{escaped(text)}\n"
    )
    assert set(shown.tags) <= OURS
    assert [plain(one.replace(NOTHING, "")) for one in shown.rows[1]] == [plain(text), "1"]
    assert plain(shown.items[0].replace(NOTHING, "")) == plain(text)
    assert len(shown.rows) == 2
    assert len(shown.items) == 1


@pytest.mark.parametrize("text", FOUND_LATER)
def test_what_github_looks_for_in_finished_text_is_broken_up(text: str) -> None:
    """By GitHub's documented forms: mentions, references, addresses, emoji."""
    shown = plain(Reader(escaped(text)).all)
    patterns = (r"@\w", r"#\d", r"GH-\d", r"://\w", r"www\.", r":[a-z]+:")
    assert any(re.search(pattern, text) for pattern in patterns)
    assert not any(re.search(pattern, shown) for pattern in patterns)


def test_times_and_versions_are_left_alone() -> None:
    for text in ("2026-11-21T20:12:58.182+00:00", "gptq num_bits=4 group_size=64", "austen-6m", "1.2.0+cpu"):
        assert escaped(text) == text


def test_records_full_of_markup_are_text_everywhere() -> None:
    texts = [*HOSTILE, *FOUND_LATER]
    cells = [factory.cell("absmax", label=text, seed=place) for place, text in enumerate(texts)]
    good = [factory.record("absmax", cell=cell) for cell in cells]
    bad = [
        factory.record("gptq", cell=factory.cell("gptq", label=text, seed=place), status="failed",
                       reason=text, samples={}, layers=[])
        for place, text in enumerate(texts)
    ]  # fmt: skip
    manifest = {"environment": {"qbench": "<b>1</b>", "cpu": {"model": "</details>| x"}, "note": texts}}
    frame = from_records([factory.record(), *good, *bad])
    frame.attrs["problems"] = texts
    text = markdown(frame, {"<i>run</i>": manifest})
    shown = Reader(text)
    assert set(shown.tags) <= OURS | OWN_HTML
    assert shown.tags.count("details") == shown.tags.count("summary") == 1
    labels = {plain(row[0].replace(NOTHING, "")) for row in shown.rows}
    assert {plain(one) for one in texts} <= labels
    widths = {len(row) for row in shown.rows}
    assert len(widths) == 2, "a pipe made another cell"  # the leaderboard's and the environment's


def test_numbers_are_those_of_the_frame_and_stand_to_the_right() -> None:
    frame = from_records([factory.record(), factory.record("absmax"), factory.failed()])
    text = markdown(frame, {factory.MANIFEST["run"]: factory.MANIFEST})
    shown = Reader(text)
    assert "| --- | ---: |" in text
    by_name = {row[0]: row for row in shown.rows if row}
    assert by_name["none"][shown.rows[0].index("Weights MB ↓")] == "11.6"
    assert by_name["Method"][1:3] == ["Bits per weight ↓", "Perplexity ↓"]
    assert any("failed austen-6m gptq bf16 cpu: ValueError: group_size 7" in one for one in shown.items)
    for fact in ("austen-6m", "AMD EPYC 9B45", "2026-11-21 10:56", "0.1.0", "2 ok, 1 failed"):
        assert fact in shown.all


@pytest.mark.parametrize("count", [30, 900])
def test_it_never_grows_beyond_a_comment_and_says_what_was_cut(count: int) -> None:
    frame = from_records(many(count, layers=0))
    frame["label"] = frame["label"] + " " + "|" * 60  # each costs two characters
    text = markdown(frame, {str(place): factory.MANIFEST for place in range(30)})
    assert len(text) <= LIMIT
    shown = [row for row in Reader(text).rows if len(row) > 3]
    finished = int((frame["status"] == "ok").sum())
    hidden = finished - (len(shown) - 1)
    assert (f"**{hidden} of {finished} rows are not shown**" in text) is (count == 900)
    assert (hidden > 0) is (count == 900)
    assert "**20 runs are not shown**" in text


def test_a_record_of_one_megabyte_stays_small() -> None:
    text = markdown(from_records([factory.failed(reason="x|" * 500_000)]))
    assert len(text) < 5_000
    assert "1000000 characters" in text


def test_all_failed_one_cell_and_none_are_texts_that_say_so(tmp_path: Path) -> None:
    assert "the one cell did not finish" in markdown(from_records([factory.failed()]))
    assert "Only the unquantized model finished" in markdown(from_records([factory.record()]))
    assert "stored no cell yet" in markdown(from_records([]))
    with pytest.raises(ResultsError, match="no runs in"):
        read_markdown(tmp_path)


def test_the_command_prints_or_writes(tmp_path: Path) -> None:
    folder = factory.write_run(tmp_path / "results", [factory.record()])
    (folder / "0123456789abcdef.json").write_text("{")
    words = ["report", str(tmp_path / "results"), "--format", "markdown"]
    printed = CliRunner().invoke(app, words)
    assert printed.exit_code == 0
    assert printed.stdout.startswith("### qbench: quickstart\n")
    assert "1 file could not be read" in printed.stdout
    target = tmp_path / "comment.md"
    assert CliRunner().invoke(app, [*words, "-o", str(target)]).exit_code == 0
    assert target.read_text() == printed.stdout
