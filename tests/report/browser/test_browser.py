"""The leaderboard under a reader's hands: sorting, filters, search, columns, the address, keys, theme."""

from __future__ import annotations

import pytest

from qbench.report.html import page
from tests.report.conftest import PageOf, cell
from tests.results import factory

pytestmark = pytest.mark.slow
RECORDS = [
    factory.record(),
    cell("absmax 8", 8.25, 1.001),
    cell("absmax 4", 4.25, 1.2),
    cell("zero 3", 3.25, 1.1),
    factory.failed(),
]
START = ["none", "absmax 8", "absmax 4", "zero 3", "gptq"]


def test_a_click_sorts_and_a_second_one_turns_it_round_with_nulls_last(page_of: PageOf) -> None:
    opened = page_of(RECORDS)
    assert opened.labels() == START
    opened.sort("perplexity")
    assert opened.labels() == ["none", "absmax 8", "zero 3", "absmax 4", "gptq"]
    assert opened.head("perplexity").get_attribute("aria-sort") == "ascending"
    opened.sort("perplexity")
    assert opened.labels() == ["absmax 4", "zero 3", "absmax 8", "none", "gptq"]
    assert opened.head("perplexity").get_attribute("aria-sort") == "descending"
    opened.sort("weight_bytes")  # all the same: the order of the page
    assert opened.labels() == START
    assert opened.page.locator("th[aria-sort]").count() == 1


def test_filters_and_search_hold_together(page_of: PageOf) -> None:
    opened = page_of(RECORDS)
    opened.page.select_option("#filters select[name=status]", "failed")
    assert (opened.labels(), opened.shown) == (["gptq"], "1 of 5 cells")
    opened.page.select_option("#filters select[name=status]", "ok")
    opened.search("ABSMAX 8.25")
    assert opened.labels() == ["absmax 8"]
    opened.search("nothing of the kind")
    assert opened.labels() == []
    assert "No cell fits" in opened.page.inner_text("#table tbody")
    opened.page.get_by_role("button", name="Clear").click()
    assert opened.labels() == START


@pytest.mark.parametrize(
    ("words", "labels", "said"),
    [
        ("bits<=4.25", ["absmax 4", "zero 3"], "Bits per weight ≤ 4.25"),
        ("bits <= 4.25 perplexity < 56", ["zero 3"], "Perplexity < 56"),
        ("absmax bits>4", ["absmax 8", "absmax 4"], "Bits per weight > 4"),
        ("decode>=2 base<=1.00100", ["none", "absmax 8"], "× base ≤ 1.001"),
        ("decode=5", ["none", "absmax 8", "absmax 4", "zero 3"], "Decode = 5 ms/token"),
        ("nonsense<3", START, "no column of numbers is called “nonsense”"),
    ],
)
def test_conditions_on_numbers_in_the_unit_of_the_head(
    page_of: PageOf, words: str, labels: list[str], said: str
) -> None:
    opened = page_of(RECORDS)
    opened.search(words)
    assert opened.labels() == labels
    assert said in opened.shown


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        ("perplexity<100", ["none"]),
        ("perplexity<=2", []),
        ("perplexity>1e6", ["lost 2", "lost 3"]),
        ("perplexity=1.5", []),
        ("bits>4.31", ["none", "lost 2"]),
        ("bits<=4.31", ["lost 3"]),
        ("bits=4.31", ["lost 3"]),
        ("bits<4.31", []),
        ("bits>=4.31", ["none", "lost 2", "lost 3"]),
        ("位<=3", ["none", "lost 2", "lost 3"]),
    ],
)
def test_conditions_on_powers_of_ten_and_on_what_was_rounded(
    page_of: PageOf, words: str, labels: list[str]
) -> None:
    opened = page_of([factory.record(), cell("lost 2", 4.4, 3e4), cell("lost 3", 4.3125, 2e5)])
    shown = opened.page.locator("#table tbody td[data-column=perplexity], #table tbody").all_inner_texts()
    assert "×10⁶" in "".join(shown) or "×10⁷" in "".join(shown), "no number is written with a power of ten"
    opened.search(words)
    assert opened.labels() == labels


def test_a_link_shows_the_same_view_and_back_undoes_a_step(page_of: PageOf) -> None:
    opened = page_of(RECORDS)
    opened.sort("perplexity")
    opened.page.select_option("#filters select[name=method]", "absmax")
    opened.search("bits<=8.25")
    expected = ["absmax 8", "zero 3", "absmax 4"]
    assert opened.labels() == expected
    again = page_of(opened.target, fragment=opened.fragment)
    assert again.labels() == expected
    assert again.page.input_value("#filters input[name=search]") == "bits<=8.25"
    assert again.page.input_value("#filters select[name=method]") == "absmax"
    opened.page.go_back()  # before the filter: typing left no step of its own
    assert opened.labels() == ["none", "absmax 8", "zero 3", "absmax 4", "gptq"]
    opened.page.go_back()
    assert opened.labels() == START
    assert opened.fragment == ""
    opened.page.go_forward()
    assert opened.head("perplexity").get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize(
    "fragment",
    [
        "#sort=__proto__&columns=constructor,nothing&method=gone&status=<img src=x onerror=alert(1)>",
        "#sort=%E0%A4%A&theme=javascript:alert(1)&cell=../../x",
        "#search=" + "x<1%20" * 2000,
        "#leaderboard",
        "#&&=&=x",
    ],
)
def test_a_stale_or_hostile_fragment_shows_the_whole_table(page_of: PageOf, fragment: str) -> None:
    opened = page_of(RECORDS, fragment=fragment)
    assert opened.labels() == START
    assert opened.page.locator("#table thead th").count() > 5
    assert opened.page.evaluate("document.documentElement.dataset.theme") is None


def test_the_theme_is_the_readers_and_stands_in_the_link(page_of: PageOf) -> None:
    opened = page_of(RECORDS, theme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = opened.page.evaluate(colour)
    opened.page.get_by_role("button", name="Light theme").click()
    light = opened.page.evaluate(colour)
    assert dark != light
    again = page_of(opened.target, fragment=opened.fragment, theme="dark")
    assert again.page.evaluate(colour) == light


def test_any_column_that_holds_something_can_be_chosen(page_of: PageOf) -> None:
    opened = page_of(RECORDS)
    opened.page.get_by_role("button", name="Columns").click()
    offered = opened.page.locator("#chooser .option input").evaluate_all("all => all.map((box) => box.value)")
    holding = {name for name in opened.frame.columns if opened.frame[name].notna().any()}
    assert set(offered) == holding - {"label", "missing", "tasks"}
    opened.page.get_by_placeholder("Find a column").fill("KV cache")
    visible = opened.page.locator("#chooser .option:visible input")
    assert visible.evaluate_all("all => all.map((box) => box.value)") == ["kv_cache_bytes"]
    opened.page.get_by_label("KV cache").first.check()
    opened.page.keyboard.press("Escape")
    assert opened.head("kv_cache_bytes").inner_text().startswith("KV cache")
    again = page_of(opened.target, fragment=opened.fragment)
    assert again.head("kv_cache_bytes").count() == 1
    again.page.get_by_role("button", name="Columns").click()
    again.page.get_by_role("button", name="Usual columns").click()
    assert (again.head("kv_cache_bytes").count(), again.fragment) == (0, "")


def test_the_table_is_used_with_keys_alone(page_of: PageOf) -> None:
    opened = page_of(RECORDS)
    keys = opened.page.keyboard
    focused = "document.activeElement"
    opened.page.evaluate("document.getElementById('filters').elements.search.focus()")
    for _ in range(30):
        keys.press("Tab")
        if opened.page.evaluate(f"{focused}.closest('th')?.dataset.key === 'perplexity'"):
            break
    keys.press("Enter")
    assert opened.labels()[1] == "absmax 8"
    opened.page.locator("#table tbody [tabindex='0']").focus()
    assert opened.page.evaluate(f"{focused}.innerText") == "none"
    keys.press("ArrowDown")
    keys.press("ArrowRight")
    assert "Bits per weight: 8.25" in opened.page.inner_text("#readout")
    assert opened.page.locator("#table tbody [tabindex='0']").count() == 1
    keys.press("Control+End")
    assert opened.page.evaluate(f"{focused}.closest('tr').innerText").startswith("gptq")
    assert "group_size 7" in opened.page.inner_text("#readout")
    keys.press("Enter")
    key = f"{RECORDS[-1].run}/{RECORDS[-1].cell.id}"
    assert opened.page.evaluate("qbench.state.get('cell')") == key
    assert key in opened.fragment


def test_a_click_on_a_row_opens_its_cell(page_of: PageOf) -> None:
    opened = page_of(RECORDS)
    opened.page.locator("#table tbody tr").nth(2).locator("td").nth(1).click()
    assert opened.page.evaluate("qbench.state.get('cell')") == f"{RECORDS[2].run}/{RECORDS[2].cell.id}"


def test_a_null_says_why_to_the_pointer_to_keys_and_to_a_screen_reader(page_of: PageOf) -> None:
    broken = {"unit": "s", "value": None, "reason": "the clock broke"}
    opened = page_of([*RECORDS, factory.record("int4", samples=factory.samples(latency=broken))])
    null = opened.page.locator("#table td.null", has_text="the clock broke").first
    assert null.get_attribute("title") == "the clock broke"
    null.focus()
    assert "the clock broke" in opened.page.inner_text("#readout")
    null.hover()
    assert "the clock broke" in opened.page.inner_text("#readout")


def test_pictures_are_drawn_and_only_the_scripts_of_the_page_run(page_of: PageOf) -> None:
    opened = page_of(RECORDS, plotly=True)
    opened.page.locator(".plot .main-svg").first.wait_for()
    opened.page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'document.title = 1';"
        "document.body.append(s); }"
    )
    assert opened.page.title() == "quickstart · qbench"
    assert "Content Security Policy" in opened.console.pop()


def test_plotlyjs_beside_the_page_is_found(page_of: PageOf) -> None:
    opened = page_of(RECORDS)
    from qbench.report.leaderboard.leaderboard import render

    target = opened.target.with_name("beside.html")
    page.write_page(target, render(opened.frame, plotlyjs="directory"), "directory")
    beside = page_of(target)
    beside.requests.remove((target.parent / page.PLOTLY_FILE).as_uri())
    assert beside.page.evaluate("typeof Plotly") == "object"
