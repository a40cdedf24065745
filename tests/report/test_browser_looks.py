"""The page at three widths, in both themes, on paper and to axe; and folders that hold little or too much."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from qbench.report.leaderboard import write_report
from qbench.results.record import Record
from tests.report.conftest import Opened, PageOf, cell
from tests.results import factory

pytestmark = pytest.mark.slow
RECORDS = [factory.record(), cell("absmax 8", 8.25, 1.001), cell("absmax 4", 4.25, 1.2), factory.failed()]
MANY = [
    factory.record(),
    *(cell(f"absmax {place:04}", 2 + place / 500, 1 + place / 1000) for place in range(1200)),
]


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_only_the_table_scrolls_sideways(page_of: PageOf, width: int) -> None:
    long = dataclasses.replace(cell("w" * 300, 3, 1.3), suite="quickstart" * 20)
    opened = page_of([*RECORDS, long], width=width)
    assert opened.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    opened.page.get_by_role("button", name="Columns").click()
    assert inside(opened, "#chooser")
    opened.page.keyboard.press("Escape")
    opened.page.get_by_text("Copy, download").click()
    assert inside(opened, ".sheet")


def inside(opened: Opened, selector: str) -> bool:
    box = opened.page.locator(selector).bounding_box()
    return box["x"] >= 0 and box["x"] + box["width"] <= opened.page.viewport_size["width"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(page_of: PageOf, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    opened = page_of(
        RECORDS, theme=theme, width=900, context={"bypass_csp": True}
    )  # axe is a script of its own
    for state in ("plain", "menu", "columns"):
        if state == "menu":
            opened.page.get_by_text("Copy, download").click()
        if state == "columns":
            opened.page.keyboard.press("Escape")
            opened.page.get_by_role("button", name="Columns").click()
        found = axe.run(opened.page).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def test_of_many_rows_those_near_the_window_stand_there(page_of: PageOf) -> None:
    opened = page_of(MANY)
    table = opened.page.locator("#table")
    assert table.get_attribute("aria-rowcount") == "1202"
    assert 20 < len(opened.labels()) < 120
    opened.page.locator("#table tbody [tabindex='0']").focus()
    opened.page.keyboard.press("Control+End")
    last = opened.page.locator("#table tbody tr[data-row]").last
    assert last.get_attribute("aria-rowindex") == "1202"
    assert (
        opened.page.evaluate("document.activeElement.closest('tr').getAttribute('aria-rowindex')") == "1202"
    )
    widths = "Array.from(document.querySelectorAll('#table thead th'), (head) => head.offsetWidth)"
    before = opened.page.evaluate(widths)
    opened.page.evaluate("document.querySelector('.scroll').scrollTop = 9000")
    opened.page.locator('#table tr[aria-rowindex="1202"]').wait_for(state="detached")
    assert opened.page.evaluate(widths) == before  # columns stand still while rows go by
    assert len(opened.labels()) < 120
    opened.search("absmax 0042")
    assert opened.labels() == ["absmax 0042"]


def test_paper_gets_a_thousand_rows_and_says_what_is_left_out(page_of: PageOf) -> None:
    opened = page_of(MANY)
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert len(opened.labels()) == 1000
    assert opened.page.inner_text("#unprinted").startswith("The first 1000 of 1201 rows are printed")
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(opened.labels()) < 120
    assert not opened.page.locator("#unprinted").is_visible()


def test_without_scripts_the_numbers_still_stand_there(page_of: PageOf) -> None:
    opened = page_of(RECORDS, context={"java_script_enabled": False})
    text = opened.page.inner_text("body")
    assert "50.6 ± 2.6" in text
    assert "ValueError: group_size 7" in text
    assert "need JavaScript" in text
    assert not opened.page.locator("#filters, #actions").first.is_visible()


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "stored no cell yet"),
        ([factory.record()], "Only the unquantized model finished"),
        ([factory.failed(), factory.failed("awq", "oom", "4 GB")], "none of the 2 cells finished"),
    ],
)
def test_few_cells_or_none_make_a_whole_page(page_of: PageOf, records: list[Record], said: str) -> None:
    opened = page_of(records)
    assert said in opened.page.inner_text("main")
    assert opened.page.locator("#table tbody tr").count() == len(records)


def test_files_that_cannot_be_read_are_named_on_a_page_that_works(page_of: PageOf, tmp_path: Path) -> None:
    folder = factory.write_run(tmp_path, RECORDS)
    (folder / "0123456789abcdef.json").write_text('{"schema": 1')
    opened = page_of(write_report(tmp_path, tmp_path / "problems.html", plotlyjs="inline"))
    assert "0123456789abcdef.json is no whole JSON file" in opened.page.inner_text("[role=alert]")
    opened.sort("perplexity")
    assert len(opened.labels()) == 4
