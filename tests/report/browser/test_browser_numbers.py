"""Numbers and reasons in a real browser: spreads, the panel's ends and units, texts without end."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from qbench.report.html import page
from qbench.report.leaderboard.leaderboard import write_report
from qbench.results.store.record import Record
from tests.report.conftest import STUB, Opened, PageOf, cell
from tests.results import factory

pytestmark = pytest.mark.slow


def timed(label: str, steps: list[float], bits: float) -> Record:
    one = cell(label, bits, 1.1)
    latency = factory.latency([0.01] * len(steps), [[seconds] for seconds in steps])
    return dataclasses.replace(one, samples={**one.samples, "latency": latency})


FAST = timed("fast", [0.0042, 0.005, 0.0058], 4.25)
SLOW = timed("slow", [30.0, 35.0, 41.0], 4.5)
LOPSIDED = timed("lopsided", [0.00258, 0.00263, 0.0191], 5.0)
FAILED = factory.failed(reason="ValueError: group_size 7")


@pytest.fixture
def shown(page_of: PageOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """A page with panels, of one cell of each kind."""
    monkeypatch.setattr(page, "_plotly_source", lambda: STUB)
    factory.write_run(tmp_path / "results", [factory.record(), FAST, SLOW, LOPSIDED, FAILED])
    return page_of(write_report(tmp_path / "results", tmp_path / "numbers.html"))


def panel(opened: Opened, record: Record) -> Any:
    opened.page.evaluate(f"location.hash = 'cell={record.run}/{record.cell.id}'")
    opened.page.locator("#panel[open] h3").first.wait_for()
    return opened.page.locator("#panel")


def decode(opened: Opened, record: Record) -> str:
    rows = panel(opened, record).get_by_role("table", name="Metrics of the cell").get_by_role("row")
    return rows.filter(has=opened.page.get_by_role("rowheader", name="Decode ")).first.inner_text()


def test_a_lopsided_spread_stands_by_its_ends_and_none_is_doubled(shown: Opened) -> None:
    texts = shown.page.locator("#table tbody td.number").all_inner_texts()
    assert "2.63 (2.58 to 19.10)" in texts
    assert "5.0 ± 0.8" in texts
    assert not [text for text in texts if "± ±" in text or "± (" in text]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (FAST, ("5.0 ± 0.8 ms/token", "4.2 to 5.8 (range)")),
        (SLOW, ("35 ± 6 s/token", "30 to 41 (range)")),
        (LOPSIDED, ("2.63 ms/token", "2.58 to 19.10 (range)")),
    ],
    ids=["fast", "slow", "lopsided"],
)
def test_the_panel_has_each_number_in_a_unit_of_its_own(
    shown: Opened, record: Record, said: tuple[str, str]
) -> None:
    text = decode(shown, record)
    assert all(part in text for part in said)
    assert "(2.58" not in text


def test_a_failure_is_said_once_in_the_panel(shown: Opened) -> None:
    text = panel(shown, FAILED).inner_text()
    assert text.count("group_size 7") == 1
    assert "Failure: ValueError" in text


def test_labels_and_reasons_without_end_leave_a_page_that_answers(page_of: PageOf) -> None:
    long = "x" * 1_000_000
    opened = page_of([factory.record(), cell(f"absmax {long}", 4.25, 1.05), factory.failed(reason=long)])
    assert len(opened.page.inner_text(".answers")) < 1000
    assert len(opened.page.content()) < 3_000_000
    opened.sort("bits_per_weight")
    assert opened.head("bits_per_weight").get_attribute("aria-sort") == "ascending"
