"""A comparison of which cells are good on one side only: said first, and no good verdict over it."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from qbench.report.compare.compare_page import markdown, render
from qbench.report.compare.compare_terminal import drawn
from qbench.report.compare.differences import build_comparison
from qbench.results.compare.compare import compare_sources
from qbench.results.store.record import Record
from tests.report.compare.test_compare_page import RECORDS, changed, source
from tests.report.leaderboard.test_html import Reader
from tests.results import factory

FAILED = [factory.failed(method, status) for method, status in (("absmax", "failed"), ("int4", "oom"))]


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (RECORDS, (RECORDS[0], FAILED[0], RECORDS[2]),
         "1 cell that ended well in A failed in B. Identical bit for bit: 2 of the 2 cells that ended well "
         "on both sides."),
        (RECORDS, (RECORDS[0], *FAILED),
         "2 cells that ended well in A did not end well in B (1 failed, 1 oom). Identical bit for bit: "),
        (RECORDS, (RECORDS[0], RECORDS[1], FAILED[1]), "1 cell that ended well in A ran out of memory in B."),
        ((*FAILED, RECORDS[0]), RECORDS,
         "Identical bit for bit: 1 of the 1 cell that ended well on both sides. 2 cells that did not end "
         "well in A (1 failed, 1 oom) ended well in B."),
        (RECORDS, RECORDS[:1], " both sides. 2 cells are in A only."),
        (RECORDS[:2], RECORDS, " both sides. 1 cell is in B only."),
        (RECORDS[1:2], (FAILED[0],),
         "1 cell that ended well in A failed in B. No cell was measured on both sides: nothing was "
         "compared."),
        (RECORDS, (changed(RECORDS[0], "memory", weight_bytes=11_700_000), FAILED[0], RECORDS[2]),
         "1 cell that ended well in A failed in B. 1 of the 2 cells that ended well on both sides differs: "
         "none, weight bytes"),
    ],
)  # fmt: skip
def test_a_cell_that_is_good_on_one_side_only_takes_the_good_verdict(
    a: tuple[Record, ...], b: tuple[Record, ...], said: str
) -> None:
    sides = source(*a), source(*b)
    found = compare_sources(*sides)
    view, page = build_comparison(found, *sides), render(found, *sides)
    assert not view.alike
    assert '<article class="differ">' in page
    out = io.StringIO()
    Console(file=out, width=400).print(drawn(found))
    for text in (Reader(page).text, out.getvalue(), markdown(found, *sides).replace("\\", "")):
        assert said in text
    assert said.split(".")[0].lower() in json.dumps(found.to_dict()).lower()
    assert "did not end well on both sides" not in out.getvalue()


def test_what_failed_on_both_sides_takes_no_verdict_and_is_named() -> None:
    sides = source(RECORDS[0], *FAILED), source(RECORDS[0], *FAILED)
    found = compare_sources(*sides)
    view, text = build_comparison(found, *sides), Reader(render(found, *sides)).text
    assert view.alike
    assert [where for where, _ in view.lacking] == ["failed on both sides", "oom on both sides"]
    assert "2 cells ended well on neither side." in text


def test_what_only_b_lost_is_listed_first() -> None:
    a = (FAILED[0], FAILED[1], factory.record("gptq"), RECORDS[0])
    b = (RECORDS[1], FAILED[1], factory.failed("gptq"), RECORDS[0])
    found = compare_sources(source(*a), source(*b))
    assert [(end.a, end.b) for end in found.ends] == [("ok", "failed"), ("failed", "ok"), ("oom", "oom")]
    assert [line.split()[1] for line in found.not_ok] == ["gptq", "absmax", "int4"]
