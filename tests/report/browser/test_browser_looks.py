"""The page at three widths, in both themes, on paper and to axe; and folders that hold little or too much."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from qbench.report.html import page
from qbench.report.leaderboard.leaderboard import write_report
from qbench.results.store.record import Record
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


SEEN = """
() => {
  const box = document.querySelector("#leaderboard .scroll").getBoundingClientRect();
  const stands = (head) => head.getBoundingClientRect().right <= box.right && head.dataset.key;
  return Array.from(document.querySelectorAll("#table thead th")).map(stands).filter(Boolean);
}
"""

EXAMPLE = Path(__file__).parents[3] / "results" / "examples"
"""Two models with every method: names and numbers as long as real ones are."""


@pytest.mark.parametrize(
    ("width", "seen"),
    [
        (390, ["bits_per_weight", "perplexity_ratio"]),
        (1440, ["model", "bits_per_weight", "perplexity_ratio", "kl_divergence", "weight_bytes",
                "decode_s_per_token"]),
    ],
)  # fmt: skip
def test_the_columns_that_answer_stand_in_sight(
    page_of: PageOf, tmp_path: Path, width: int, seen: list[str]
) -> None:
    opened = page_of(write_report(EXAMPLE, tmp_path / "page.html", plotlyjs="directory"), width=width)
    opened.requests.remove((tmp_path / page.PLOTLY_FILE).as_uri())
    assert opened.page.evaluate(SEEN)[: len(seen) + 1] == ["label", *seen]
    under = opened.page.locator("#table .under").all_inner_texts()
    assert set(under) == ({"austen-6m", "smollm2-135m"} if width < 600 else set())
    opened.page.wait_for_selector("#leaderboard .scroll.after")  # the shadow that says there is more
    opened.page.evaluate("document.querySelector('#leaderboard .scroll').scrollLeft = 9999")
    opened.page.wait_for_selector("#leaderboard .scroll.before:not(.after)")
    opened.page.set_viewport_size({"width": 1280, "height": 390})  # a phone that is turned
    opened.head("model").wait_for()
    assert opened.page.locator("#table .under").count() == 0
    assert len(opened.labels()) == 28


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


def test_of_many_rows_on_a_phone_every_one_is_as_high_as_the_spacers_reckon(page_of: PageOf) -> None:
    other = dataclasses.replace(MANY[1].cell, model=dataclasses.replace(MANY[1].cell.model, name="m" * 80))
    opened = page_of([dataclasses.replace(MANY[1], cell=other), *MANY], width=390)
    heights = "Array.from(document.querySelectorAll('#table tr[data-row]'), (row) => row.offsetHeight)"
    assert opened.page.locator("#table .under").count() == len(opened.labels())
    assert set(opened.page.evaluate(heights)) == {58}
    opened.page.evaluate("document.querySelector('.scroll').scrollTop = 1e9")
    opened.page.wait_for_selector('#table tr[aria-rowindex="1203"]')
    assert set(opened.page.evaluate(heights)) == {58}


def test_paper_gets_a_thousand_rows_and_says_what_is_left_out(page_of: PageOf) -> None:
    opened = page_of(MANY)
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert len(opened.labels()) == 1000
    assert opened.page.inner_text("#unprinted").startswith("The first 1000 of 1201 rows are printed")
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(opened.labels()) < 120
    assert not opened.page.locator("#unprinted").is_visible()


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (1440, "dark"), (360, "light"), (360, "dark")])
def test_pictures_on_paper_are_as_wide_as_the_sheet_and_dark_on_white(
    page_of: PageOf, width: int, theme: str
) -> None:
    opened = page_of(RECORDS, width=width, theme=theme, plotly=True)
    opened.page.wait_for_selector("#charts .plot", state="attached")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.page.emulate_media(media="print", color_scheme=theme)
    opened.page.wait_for_selector("#charts .plot svg.main-svg")
    sheet = 186 / 25.4 * 96
    plots = opened.page.evaluate(
        """Array.from(document.querySelectorAll('#charts .plot'), (plot) => ({
            plot: plot.querySelector('svg.main-svg').getBoundingClientRect(),
            card: plot.closest('figure').getBoundingClientRect(),
            ink: getComputedStyle(plot.querySelector('text')).fill,
        }))"""
    )
    assert len(plots) > 3
    for one in plots:
        assert 0.8 * sheet < one["plot"]["width"] <= one["card"]["width"] <= sheet
        assert max(map(int, re.findall(r"\d+", one["ink"])[:3])) < 130, one["ink"]
    opened.page.emulate_media(media="screen", color_scheme=theme)
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    shown = "document.querySelector('#charts .plot svg.main-svg').getBoundingClientRect().width"
    opened.page.wait_for_function(f"{shown} <= {width}")


def test_on_a_phone_the_dialog_of_columns_has_its_name_on_one_line(page_of: PageOf) -> None:
    opened = page_of(RECORDS, width=360)
    opened.page.get_by_role("button", name="Columns").click()
    heading = opened.page.locator("#chooser .head h2")
    height, line = heading.evaluate(
        "(one) => [one.offsetHeight, parseFloat(getComputedStyle(one).lineHeight)]"
    )
    assert line <= height < 1.5 * line


def test_without_scripts_the_numbers_still_stand_there(page_of: PageOf) -> None:
    opened = page_of(RECORDS, context={"java_script_enabled": False})
    text = opened.page.inner_text("body")
    assert "50.6 ± 2.5" in text
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
