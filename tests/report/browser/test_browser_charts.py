"""Pictures and the cell's panel in a real browser: what a reader sees, by mouse, keyboard and link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qbench.report.html import page
from qbench.report.leaderboard.leaderboard import write_report
from qbench.results.store.record import Record
from tests.report.charts.charted import RECORDS, other_model, quantized, timed
from tests.report.conftest import STUB, Opened, PageOf
from tests.results import factory

pytestmark = pytest.mark.slow
HOSTILE = (
    "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
    "<b>b</b>&lt;%{y}<a href='javascript:1'>$x$</a>"
)
LAYERS = [
    {**factory.layer(bits, kernel="k" + HOSTILE), "name": f"{place}.{HOSTILE}", "weight_error": 0.1 / bits}
    for place, bits in enumerate((4.25, 8.25, 3.25))
]  # fmt: skip
BAD = quantized(HOSTILE, 1.3, 4_200_000, "hqq", layers=LAYERS, samples={"latency": timed(0.001)})
FAILED = factory.record(
    "gptq", status="failed", reason=HOSTILE, samples={}, layers=[], cell=factory.cell("gptq", seed=5),
    error={"type": "E", "message": HOSTILE, "traceback": f"Traceback\n{HOSTILE}\n" + "x" * 1_000_000},
)  # fmt: skip
ALL = [*RECORDS, BAD, FAILED, *other_model()]


def key(record: Record) -> str:
    return f"{record.run}/{record.cell.id}"


def written(folder: Path, records: list[Record]) -> Path:
    factory.write_run(folder / "results", records)
    return write_report(folder / "results", folder / "page.html")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with pictures that are really drawn."""
    return written(tmp_path_factory.mktemp("whole"), ALL)


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without plotly, which the panel does not need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "_plotly_source", lambda: STUB)
        return written(tmp_path_factory.mktemp("light"), ALL)


def draw_all(opened: Opened) -> None:
    """Scrolls over the page, so that every picture has come into view, and waits for the last."""
    opened.page.wait_for_selector("#charts figure")
    for plot in opened.page.locator("#charts .plot").all():
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1440, "light")])
def test_every_picture_is_drawn_inside_its_frame(
    page_of: PageOf, whole: Path, width: int, theme: str
) -> None:
    opened = page_of(whole, width=width, theme=theme, context={"bypass_csp": True})
    draw_all(opened)
    assert opened.page.locator("#charts .plot .modebar-btn").count() >= 10
    assert violations(opened) == []
    assert opened.page.locator("#charts figure").count() >= 10
    assert opened.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert opened.page.evaluate(OVERLAPS) == []
    assert opened.page.title() == "quickstart · qbench"
    assert opened.page.locator("img").count() == 0


OVERLAPS = """() => [...document.querySelectorAll('#charts .plot')].flatMap((plot) => {
  const box = (name) => { const found = plot.querySelector(name); return found && found.getBoundingClientRect(); };
  const [legend, ticks, title, frame] = [box('.legend'), box('.xaxislayer-above'), box('.xtitle'), plot.getBoundingClientRect()];
  const wrong = [];
  for (const part of [ticks, title]) if (legend && part && legend.top < part.bottom - 1 && legend.height) wrong.push('legend');
  if (legend && legend.bottom > frame.bottom + 1) wrong.push('cut');
  return wrong.map((word) => word + ': ' + plot.getAttribute('aria-label'));
})"""  # noqa: E501


def test_hostile_texts_are_drawn_as_text_and_the_theme_repaints(page_of: PageOf, whole: Path) -> None:
    opened = page_of(whole, width=820)
    draw_all(opened)
    assert opened.page.evaluate(OVERLAPS) == []
    texts = opened.page.evaluate(
        "[...document.querySelectorAll('#charts text')].map((one) => one.textContent)"
    )
    assert any("</script><script>" in text for text in texts)
    assert opened.page.locator("#charts svg a").count() == 0
    hovers = opened.page.evaluate(
        "[...document.querySelectorAll('.plot')].flatMap((plot) => plot.data || [])"
        ".filter((trace) => trace.type === 'heatmap').flatMap((trace) => trace.text.flat())"
    )
    assert any("&lt;img" in text for text in hovers)
    assert not any("<img" in text or "<script" in text for text in hovers)
    colour = "document.querySelector('.plot').data[0].line.color"
    before = opened.page.evaluate(colour)
    opened.page.locator("#theme").click()
    opened.page.wait_for_function(f"{colour} !== '{before}'")


def test_the_table_behind_a_picture_has_its_numbers(page_of: PageOf, light: Path) -> None:
    opened = page_of(light)
    figure = opened.page.locator("#charts figure").first
    assert figure.locator("table").count() == 0
    figure.get_by_text("The numbers").click()
    table = figure.get_by_role("table", name="Quality against weight memory, Perplexity × base")
    row = table.get_by_role("row").filter(
        has=opened.page.get_by_role("rowheader", name="eight (absmax)", exact=True)
    )
    assert row.locator("td").all_inner_texts()[0] == "6.00"
    assert table.get_by_role("columnheader").all_inner_texts()[1] == "Weight memory (MB)"


def test_a_view_and_a_group_are_chosen_and_the_link_keeps_the_group(page_of: PageOf, light: Path) -> None:
    opened = page_of(light)
    charts = opened.page.locator("#charts")
    charts.locator("figure").first.wait_for()
    assert charts.locator("figcaption select").count() == 1  # latency; there is no divergence to choose
    opened.page.get_by_label("Pictures of").select_option(label="other · bf16 · cpu")
    opened.page.wait_for_function("document.querySelectorAll('#charts figcaption select').length === 0")
    assert "pictures=other" in opened.fragment
    again = page_of(light, fragment=opened.fragment)
    again.page.locator("#charts figure").first.wait_for()
    assert (
        again.page.get_by_label("Pictures of").locator("option:checked").inner_text() == "other · bf16 · cpu"
    )
    again.page.get_by_label("Pictures of").select_option(label="Models side by side")
    again.page.wait_for_function("document.querySelectorAll('#charts figure').length === 2")


def panel(opened: Opened) -> Any:
    opened.page.locator("#panel[open] h3").first.wait_for()
    return opened.page.locator("#panel")


def test_the_panel_opens_from_a_link_and_holds_the_record(page_of: PageOf, light: Path) -> None:
    opened = page_of(light, fragment=f"#cell={key(BAD)}")
    text = panel(opened).inner_text()
    assert HOSTILE in text
    assert "Loss by window" in text
    assert "Machine and software of the run" in text
    assert "qbench run " in panel(opened).locator(".command pre").inner_text()
    metrics = panel(opened).get_by_role("table", name="Metrics of the cell")
    weights = metrics.get_by_role("row").filter(has_text="resident bytes of all weights")
    assert "4.20 MB" in weights.inner_text()
    assert opened.page.title() == "quickstart · qbench"
    assert opened.page.locator("img, #panel script, #panel a").count() == 0


def test_layers_sort_by_number(page_of: PageOf, light: Path) -> None:
    opened = page_of(light, fragment=f"#cell={key(BAD)}")
    table = panel(opened).get_by_role("table", name="Layers of the cell")
    bits = table.get_by_role("columnheader", name="Bits per weight")
    shown = "els => els.map((row) => row.cells[3].textContent)"
    place = table.locator("tbody tr")
    bits.get_by_role("button").click()
    assert place.evaluate_all(shown.replace("3", str(column_of(table)))) == ["3.25", "4.25", "8.25"]
    assert bits.get_attribute("aria-sort") == "ascending"
    bits.get_by_role("button").click()
    assert place.evaluate_all(shown.replace("3", str(column_of(table)))) == ["8.25", "4.25", "3.25"]


def column_of(table: Any) -> int:
    return table.locator("thead th").all_inner_texts().index("Bits per weight")


def test_a_failure_shows_its_traceback_as_text_cut_and_marked(page_of: PageOf, light: Path) -> None:
    opened = page_of(light, fragment=f"#cell={key(FAILED)}")
    traceback = panel(opened).get_by_label("Traceback").inner_text()
    assert traceback.startswith(f"Traceback\n{HOSTILE}")
    assert "characters left out; the record has them" in traceback
    assert len(traceback) < 25_000


def test_keyboard_opens_holds_the_focus_and_gives_it_back(page_of: PageOf, light: Path) -> None:
    opened = page_of(light)
    opened.page.locator("#table tbody [tabindex='0']").focus()
    opened.page.keyboard.press("Enter")
    panel(opened)
    assert "cell=" in opened.fragment
    inside = "document.getElementById('panel').contains(document.activeElement)"
    for _ in range(40):
        opened.page.keyboard.press("Tab")
        assert opened.page.evaluate(f"document.activeElement === document.body || {inside}")
    opened.page.keyboard.press("Escape")
    # the dialog's event `close`, which changes the address, comes a task after it is closed
    opened.page.wait_for_function("!location.hash.includes('cell=')")
    assert not opened.page.evaluate("document.getElementById('panel').open")
    assert opened.page.evaluate("document.getElementById('table').contains(document.activeElement)")
    opened.page.go_back()
    panel(opened)


def test_the_command_is_copied(page_of: PageOf, light: Path) -> None:
    opened = page_of(
        light, fragment=f"#cell={key(BAD)}", context={"permissions": ["clipboard-read", "clipboard-write"]}
    )
    panel(opened).get_by_role("button", name="Copy the command").click()
    panel(opened).get_by_role("status").filter(has_text="Copied").wait_for()
    command = panel(opened).locator(".command pre").inner_text()
    assert opened.page.evaluate("navigator.clipboard.readText()") == command


def test_an_old_browser_is_told_and_a_stale_link_opens_nothing(
    page_of: PageOf, light: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old.html"
    old.write_text(light.read_text().replace('typeof DecompressionStream === "undefined"', "true"))
    policy_free = old.read_text().replace("Content-Security-Policy", "X-None")
    old.write_text(policy_free)
    opened = page_of(old, fragment=f"#cell={key(BAD)}")
    assert "cannot unpack gzip" in panel(opened).inner_text()
    assert "cannot unpack gzip" in opened.page.locator("#charts").inner_text()
    stale = page_of(light, fragment="#cell=nowhere/nothing")
    assert not stale.page.evaluate("document.getElementById('panel').open")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_panel_and_tables(page_of: PageOf, light: Path, theme: str) -> None:
    opened = page_of(light, theme=theme, context={"bypass_csp": True})
    opened.page.locator("#charts figure").first.wait_for()
    for details in opened.page.locator("#charts details > summary").all()[:3]:
        details.click()
    for fragment in ("", f"#cell={key(BAD)}", f"#cell={key(FAILED)}"):
        if fragment:
            opened.page.evaluate(f"location.hash = {fragment!r}")
            panel(opened)
        assert violations(opened) == []


def violations(opened: Opened) -> list[Any]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(opened.page).response["violations"]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found]
