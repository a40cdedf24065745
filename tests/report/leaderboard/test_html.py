"""The page as text: whole, self-contained, never empty, and deaf to what records say."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from qbench.errors import ResultsError
from qbench.report.html.page import embedded_json, unbroken
from qbench.report.leaderboard.leaderboard import SCRIPTS, render, write_report
from qbench.report.leaderboard.still_table import still_table
from qbench.report.view.context import plain_rows
from qbench.report.view.facts import facts
from qbench.report.view.table import ordered, table_view
from qbench.results.frames.frame import from_records
from qbench.results.store.record import Record
from tests.report.conftest import table_data
from tests.results import factory

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{7*7}}\u2028javascript:alert(3)&lt;"
)


def quantized(label: str = "absmax 8", loss: float = 1.01) -> Record:
    nll = [nats + 511 * math.log(loss) for nats in factory.LOSSES]
    samples = factory.samples(perplexity=factory.perplexity(nll), memory=factory.memory(5_800_000))
    return factory.record("absmax", cell=factory.cell("absmax", label=label), samples=samples)


class Reader(HTMLParser):
    """Tags with attributes, and the text of the body and of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script":
            self.scripts.append(data)
        elif self.lasttag != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(*records: Record) -> Reader:
    return Reader(render(from_records(records), {"run": factory.MANIFEST}))


def test_the_first_screen_says_what_on_what_when_and_how_many() -> None:
    text = page_of(factory.record(), quantized(), factory.failed(), factory.failed("awq", "oom", "4 GB")).text
    for expected in (
        "quickstart",
        "austen-6m",
        "AMD EPYC 9B45, 2 cores + NVIDIA H100",
        "2026-11-21 10:56 UTC",
        "qbench 0.1.0",
        "name: quickstart",
    ):
        assert expected in text
    assert re.search(r"2\s+ok", text)
    assert re.search(r"1\s+failed", text)
    assert re.search(r"1\s+oom", text)
    assert "At ≤ 8.5 bits per weight, absmax 8 is the one measured: perplexity 1.010 × base" in text


def test_failures_and_nulls_stand_with_their_reasons() -> None:
    reader = page_of(factory.record(), factory.record("absmax", samples=factory.samples(latency={
        "unit": "s", "value": None, "reason": "the clock broke"})), factory.failed())  # fmt: skip
    assert "ValueError: group_size 7" in reader.text
    assert "the clock broke" in reader.text
    assert any(attributes.get("title") == "the clock broke" for _, attributes in reader.tags)
    assert "Energy: not measured (this machine or its kernel has no RAPL counter)" in reader.text


def test_nothing_of_a_record_becomes_markup() -> None:
    hostile = factory.record(
        "absmax",
        cell=factory.cell("absmax", label=HOSTILE, params={HOSTILE: HOSTILE}),
        suite=HOSTILE,
    )
    failed = factory.failed(reason=HOSTILE + "x" * 1_000_000)
    page = render(
        from_records([hostile, factory.record(suite=HOSTILE), failed]), {HOSTILE: {"a": {HOSTILE: [HOSTILE]}}}
    )
    reader = Reader(page)
    plain = page_of(factory.record("absmax"), factory.record(), factory.failed())
    count = [sum(tag == name for tag, _ in reader.tags) for name in ("script", "img", "iframe", "base")]
    assert count == [
        sum(tag == name for tag, _ in plain.tags) for name in ("script", "img", "iframe", "base")
    ]
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    assert HOSTILE.replace("\u2028", " ") in reader.text


def test_the_data_block_survives_any_string() -> None:
    value = {"a": [HOSTILE, "\u2029", "<!--", "]]>"]}
    text = embedded_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="JSON compliant"):
        embedded_json(math.nan)


def test_the_policy_names_every_script_by_its_hash_and_no_network() -> None:
    page = render(from_records([factory.record(), quantized()]))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    allowed = policy[1].replace("&#39;", "'").replace("&#43;", "+")
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert len(scripts) == 2 + len(SCRIPTS)  # plotly.js, and what every page shares
    for script in scripts:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in allowed
    assert "default-src 'none'" in allowed
    assert "http" not in allowed
    assert not re.findall(r"""<(?:script|img|link|iframe)[^>]+(?:src|href)=["']?https?:""", page)


@pytest.mark.parametrize(
    ("plotlyjs", "size"), [("inline", 3_000_000), ("cdn", 20_000), ("directory", 20_000)]
)
def test_plotlyjs_comes_once_or_from_elsewhere(tmp_path: Path, plotlyjs: str, size: int) -> None:
    factory.write_run(tmp_path, [factory.record(), quantized()])
    page = write_report(tmp_path, tmp_path / "page.html", plotlyjs=plotlyjs).read_text()  # type: ignore[arg-type]
    assert size < len(page) < 2 * size + 400_000
    assert (tmp_path / "plotly.min.js").exists() == (plotlyjs == "directory")
    with pytest.raises(ResultsError, match="did you mean 'inline'"):
        render(from_records([]), plotlyjs="inlin")  # type: ignore[arg-type]


def test_one_cell_all_failed_and_no_cell_are_pages_not_blanks(tmp_path: Path) -> None:
    assert "Only the unquantized model finished" in page_of(factory.record()).text
    assert "the one cell did not finish" in page_of(factory.failed()).text
    assert "stored no cell yet" in page_of().text


def test_a_truncated_file_is_named_on_the_page(tmp_path: Path) -> None:
    folder = factory.write_run(tmp_path, [factory.record()])
    (folder / "0123456789abcdef.json").write_text('{"schema": 1')
    (folder / "manifest.json").write_text("")
    text = Reader(write_report(tmp_path, tmp_path / "page.html").read_text()).text
    assert "2 files could not be read" in text
    assert "0123456789abcdef.json is no whole JSON file" in text
    assert "Only the unquantized model finished" in text


def test_a_record_of_a_later_schema_is_named_and_the_others_stand(tmp_path: Path) -> None:
    folder = factory.write_run(tmp_path, [factory.record(), quantized()])
    later = json.loads((folder / f"{quantized().cell.id}.json").read_text()) | {"schema": 999}
    (folder / f"{quantized().cell.id}.json").write_text(json.dumps(later))
    text = Reader(write_report(tmp_path, tmp_path / "page.html").read_text()).text
    assert "1 file could not be read" in text
    assert "999" in text
    assert "Only the unquantized model finished" in text


def test_an_empty_folder_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no runs in"):
        write_report(tmp_path, tmp_path / "page.html")
    with pytest.raises(ResultsError, match="no results folder"):
        write_report(tmp_path / "nothing", tmp_path / "page.html")
    factory.write_run(tmp_path, [factory.record()])
    with pytest.raises(ResultsError, match="there is no folder"):
        write_report(tmp_path, tmp_path / "no" / "page.html")


def test_the_best_is_marked_only_beyond_the_intervals() -> None:
    def marked(*records: Record) -> int:
        page = render(from_records([factory.record(), *records]))
        return len(re.findall(r'<td class="number best"[^>]*>1\.\d+<', page))

    assert marked(quantized("a", 1.01), quantized("b", 1.05)) == 1
    assert marked(quantized("a", 1.01), quantized("b", 1.01)) == 0


def test_what_varies_and_was_measured_once_is_never_marked_best() -> None:
    slow = factory.record("absmax", cell=factory.cell("absmax", label="slow"), phases={"quantize": 9.0})
    page = render(from_records([factory.record(), quantized("a"), slow]))
    assert "500" not in re.findall(r'<td class="number best"[^>]*>([^<]+)<', page)
    assert re.search(r'<td class="number"[^>]*>9000<', page)


@pytest.mark.parametrize(
    ("seconds", "shown", "said"),
    [
        # of seven, ranks 1 and 7 hold 95 %; of nine, ranks 2 and 8: neither the 1 nor the 90 ms
        (
            [0.001, 0.0098, 0.0099, 0.010, 0.010, 0.010, 0.0101, 0.0102, 0.09],
            "0.20",
            "interval 0.0098 to 0.0102",
        ),
        ([0.009, 0.010, 0.011], "1.0", "range 0.009 to 0.011"),
    ],
)
def test_a_time_stands_with_its_interval_and_without_one_with_its_range(
    seconds: list[float], shown: str, said: str
) -> None:
    latency = factory.latency(seconds, [[0.005] * 3 for _ in seconds])
    record = factory.record(samples=factory.samples(latency=latency))
    table = still_table(table_view(plain_rows(from_records([record]))), {})
    cells = {one.column.name: cell for one, cell in zip(table.fields, table.rows[0].cells, strict=True)}
    assert said in cells["prefill_s"].title
    assert cells["prefill_s"].spread == f"± {shown}"
    assert cells["decode_s_per_token"].spread == ""  # all the same: no spread at all


def test_where_nothing_finished_stand_reasons_and_no_number_or_legend() -> None:
    timed = dataclasses.replace(factory.failed(), phases={"quantize": 1.5})
    rows = plain_rows(from_records([timed, factory.failed("awq", "oom", "x")]))
    assert still_table(table_view(ordered(rows)), {}).fields == []
    assert table_data(rows)["defaults"] == ["reason"]
    assert "is better" not in page_of(timed).text
    assert "is better" in page_of(timed, factory.record()).text


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ([0.5, 9.0, 9.0], [2.9, 2.5, 9.0], ""),  # before it, and the run itself
        ([0.5, 0.1, 0.1], [4.04, 10.07, 9.8], "up to 10 on 2 cores while measuring"),
        ([6.95, 0.1, 0.1], [2.0, 2.0, 2.0], "up to 7 on 2 cores while measuring"),
        (None, ["x", None, 3], ""),
    ],
)
def test_a_loaded_machine_is_said_in_the_head(start: Any, end: Any, said: str) -> None:
    manifest = {**factory.MANIFEST, "launches": [{"load_average": start, "load_average_at_end": end}]}
    assert (
        facts(plain_rows(from_records([factory.record()])), {"run": manifest}).get("Load average", "") == said
    )
    assert "Load average" not in facts([], {"run": {**manifest, "environment": {}}})


def test_a_short_word_with_a_hyphen_stays_on_one_line_and_is_the_same_text() -> None:
    said = "int4 4-bit, loses least: 1.02 × base – at -1 <b>x-y</b> " + "long-" * 9 + "name"
    marked = str(unbroken(said))
    assert Reader(marked).text == said
    assert re.findall('<span class="unbroken">(.*?)</span>', marked) == ["4-bit,", "&lt;b&gt;x-y&lt;/b&gt;"]
    page = render(from_records([factory.record(), quantized("absmax 4-bit")]))
    assert 'absmax <span class="unbroken">4-bit</span>' in page
    assert ".unbroken { white-space: nowrap; }" in page
