"""What leaves the page, as files and by the clipboard, against the frame; and records that mean harm."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet
import pytest

from qbench.results.table.columns import columns
from tests.report.conftest import Opened, PageOf, cell
from tests.results import factory

pytestmark = pytest.mark.slow
FORMULA = '=HYPERLINK("http://example.org","x")'
HOSTILE = (
    "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
    "'`{{7*7}}<!--\u2028javascript:alert(3)"
)
RECORDS = [
    factory.record(),
    cell("absmax 8", 8.25, 1.001),
    cell(FORMULA, 4.25, 1.2),
    cell("-5", 3.25, 1.1),
    factory.failed(reason="@SUM(1)\tand, “more”\r\nof it"),
]


def saved(opened: Opened, button: str) -> bytes:
    opened.page.get_by_text("Copy, download").click()
    with opened.page.expect_download() as waiting:
        opened.page.get_by_role("button", name=button).click()
    return Path(waiting.value.path()).read_bytes()


def test_csv_holds_the_rows_and_columns_that_show_with_every_digit(page_of: PageOf) -> None:
    opened = page_of(
        RECORDS, fragment="#search=bits<9&sort=-bits_per_weight&columns=bits_per_weight,perplexity,prefill_s"
    )
    rows = list(csv.reader(io.StringIO(saved(opened, "CSV").decode(), newline="")))
    assert rows[0] == [
        "run", "cell_id", "model", "method", "label", "status", "reason", "bits_per_weight",
        "prefill_s [s]", "prefill_s_min [s]", "prefill_s_max [s]", "perplexity", "perplexity_low",
        "perplexity_high",
    ]  # fmt: skip
    frame = opened.frame[opened.frame["bits_per_weight"] < 9].sort_values("bits_per_weight", ascending=False)
    assert [row[1] for row in rows[1:]] == list(frame["cell_id"])
    assert [float(row[11]) for row in rows[1:]] == list(frame["perplexity"])
    assert [float(row[8]) for row in rows[1:]] == list(frame["prefill_s"])
    assert [float(row[10]) for row in rows[1:]] == list(frame["prefill_s_max"])


def test_a_spreadsheet_reads_no_formula_and_numbers_stay_numbers(page_of: PageOf) -> None:
    opened = page_of(RECORDS, fragment="#columns=weight_error,nll_per_token")
    rows = list(csv.DictReader(io.StringIO(saved(opened, "CSV").decode(), newline="")))
    assert [row["label"] for row in rows[2:4]] == ["'" + FORMULA, "'-5"]
    assert rows[4]["reason"] == "'@SUM(1)\tand, “more”\r\nof it"
    assert float(rows[0]["nll_per_token [nat]"]) == opened.frame["nll_per_token"][0]


def test_json_says_units_and_reasons_and_changes_no_text(page_of: PageOf) -> None:
    opened = page_of(RECORDS, fragment="#columns=decode_s_per_token,energy_j_per_token,kl_divergence")
    found = json.loads(saved(opened, "JSON"))
    units = {column["name"]: column["unit"] for column in found["columns"]}
    assert units == {name: columns()[name].unit or None for name in units}
    assert [row["label"] for row in found["rows"]] == [*opened.frame["label"]]
    assert found["rows"][0]["decode_s_per_token"] == opened.frame["decode_s_per_token"][0]
    assert found["rows"][4]["missing"]["decode_s_per_token"].startswith("@SUM(1)")


def test_parquet_is_the_whole_frame_with_its_units(page_of: PageOf, tmp_path: Path) -> None:
    opened = page_of(RECORDS, fragment="#search=nothing")
    (tmp_path / "all.parquet").write_bytes(saved(opened, "Parquet"))
    table = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    pd.testing.assert_frame_equal(table.to_pandas(), opened.frame, check_dtype=False, check_categorical=False)
    assert table.schema.field("prefill_s").metadata[b"unit"] == b"s"


@pytest.mark.parametrize("clipboard", [True, False])
def test_copied_as_a_table_for_a_spreadsheet_and_for_a_pull_request(page_of: PageOf, clipboard: bool) -> None:
    context: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}
    opened = page_of(RECORDS, fragment="#columns=bits_per_weight,perplexity", context=context)
    if not clipboard:  # as in an old or a strict browser
        opened.page.evaluate(
            "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }"
        )
    opened.page.get_by_text("Copy, download").click()
    opened.page.get_by_role("button", name="Copy for a spreadsheet").click()
    opened.page.get_by_text("5 rows are copied.").wait_for()
    lines = opened.page.evaluate("navigator.clipboard.readText()").split("\n")
    assert len(lines) == 6
    assert lines[1].split("\t")[8] == repr(float(opened.frame["perplexity"][0]))
    assert lines[3].split("\t")[4] == "'" + FORMULA
    opened.page.get_by_text("Copy, download").click()
    opened.page.get_by_role("button", name="Copy as Markdown").click()
    opened.page.wait_for_function(
        "navigator.clipboard.readText().then((text) => text.startsWith('| Method'))"
    )
    lines = opened.page.evaluate("navigator.clipboard.readText()").split("\n")
    assert lines[:3] == [
        "| Method | Bits per weight | Perplexity |",
        "| --- | ---: | ---: |",
        "| none | 16.0 | 50.6 ± 2.5 |",
    ]


def test_records_that_mean_harm_change_nothing_but_text(page_of: PageOf) -> None:
    long = HOSTILE + "x" * 1_000_000
    mean = factory.record(
        "absmax",
        suite=HOSTILE,
        cell=factory.cell(HOSTILE, label=HOSTILE, params={HOSTILE: HOSTILE}, dtype=HOSTILE, device=HOSTILE),
        layers=[factory.layer(kernel=HOSTILE)],
    )
    odd = factory.record(suite=HOSTILE, samples=factory.samples(latency={"value": None, "reason": HOSTILE}))
    opened = page_of([mean, odd, factory.failed(reason=long), factory.failed("awq", reason=HOSTILE)])
    page = opened.page
    page.get_by_role("button", name="Columns").click()
    page.locator("#chooser fieldset").last.locator("input").evaluate_all(
        "all => all.forEach((box) => box.click())"
    )
    page.keyboard.press("Escape")
    for head in page.locator("#table thead button").all()[:6]:
        head.click()
    for select in page.locator("#filters select").all():
        select.select_option(index=1)
        select.select_option(index=0)
    opened.search(HOSTILE)
    assert opened.shown.startswith("4 of 4")
    opened.search("")
    link = opened.fragment
    cut = page.locator(".why", has_text="characters)").all_inner_texts()
    assert len(cut) == 2  # in place of the numbers, and in the column of reasons
    assert all(600 < len(text) < 700 for text in cut)
    text = saved(opened, "CSV").decode()
    assert {row["label"] for row in csv.DictReader(io.StringIO(text, newline=""))} == {
        HOSTILE,
        "none",
        "gptq",
        "awq",
    }
    assert (
        page.evaluate(
            "document.images.length + document.querySelectorAll('iframe, a[href^=javascript]').length"
        )
        == 0
    )
    again = page_of(opened.target, fragment=link)
    assert page.title() != "broken"
    assert again.page.title() != "broken"
    assert again.labels() == opened.labels()
