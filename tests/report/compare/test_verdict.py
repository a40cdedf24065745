"""Better or worse: by direction where a number is exact, by the paired interval where it is a text's."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from qbench.report.compare.compare_headline import headline
from qbench.report.compare.compare_page import markdown, render
from qbench.report.compare.differences import Line, differing_lines
from qbench.results.compare.compare import compare, compare_sources
from qbench.results.store.record import Record
from tests.report.compare.test_compare_page import changed, source
from tests.report.leaderboard.test_html import Reader
from tests.results import factory
from tests.results.compare.test_paired import AGREE, KL, SCORED, quality

WOBBLE = [40.0, -41.0, 39.0, -12.0, 41.0, -40.0, 30.0, -6.0]


def lines(a: Record, b: Record) -> dict[str, Line]:
    return {line.metric: line for line in differing_lines(compare([a], [b]))}


def inside(record: Record, **values: Any) -> Record:
    """With other values in its divergence."""
    samples = copy.deepcopy(record.samples)
    samples["perplexity"]["divergence"] |= values
    return replace(record, samples=samples)


@pytest.mark.parametrize(
    ("kl", "verdict"),
    [
        ([3 * kl for kl in KL], "worse, beyond the interval"),
        ([kl / 2 for kl in KL], "better, beyond the interval"),
        ([kl + by for kl, by in zip(KL, WOBBLE, strict=True)], "differs, within the interval"),
    ],
)
def test_kl_is_judged_by_its_paired_interval(kl: list[float], verdict: str) -> None:
    line = lines(quality(), quality(kl=kl))["kl_divergence"]
    assert line.verdict == verdict
    shown = line.range.split()
    assert float(shown[0].replace("−", "-")) == pytest.approx((sum(kl) - sum(KL)) / sum(SCORED), abs=0.005)
    assert shown[-1] == "nat"


def test_a_change_that_rounds_to_nothing_has_no_sign() -> None:
    kl = [KL[0] - 1e-3, *(one + by for one, by in zip(KL[1:], (9, -9, 9, -9, 9, -9, 0), strict=True))]
    line = lines(quality(), quality(kl=kl))["kl_divergence"]
    assert line.range.startswith("0.0")
    assert line.verdict == "differs, within the interval"


def test_agreement_is_better_the_higher_it_is() -> None:
    half = lines(quality(), quality(agree=[one // 2 for one in AGREE]))["top1_agreement"]
    assert (half.verdict, half.way) == ("worse, beyond the interval", "worse")
    assert half.range.startswith("−0.4")
    more = lines(quality(agree=[one // 2 for one in AGREE]), quality())["top1_agreement"]
    assert (more.verdict, more.range[0]) == ("better, beyond the interval", "+")


@pytest.mark.parametrize(
    ("bytes_", "verdict"),
    [(23_200_000, "worse"), (5_800_000, "better"), (11_600_000 * (1 + 1e-12), "differs in the last digits")],
)
def test_exact_numbers_are_judged_by_their_direction(bytes_: float, verdict: str) -> None:
    line = lines(quality(), changed(quality(), "memory", weight_bytes=bytes_))["weight_bytes"]
    assert (line.verdict, line.range) == (verdict, "")


def test_a_number_of_the_text_without_an_interval_says_so() -> None:
    found = lines(quality(), inside(quality(), kl_max=3.0))["kl_max"]
    assert (found.verdict, found.range) == ("worse, no interval", "")
    said = headline(compare([quality()], [inside(quality(), kl_max=3.0)]), [found])
    assert said == "1 of 1 cells differs: gptq, kl max +50 % (worse, no interval)."


def test_raw_values_are_neither_and_come_last() -> None:
    found = lines(quality(), quality(kl=[3 * kl for kl in KL]))
    assert [line.way for line in found.values()] == ["worse", ""]
    assert list(found) == ["kl_divergence", "kl by window"]


def test_a_perplexity_within_its_interval_does_not_hide_what_is_worse() -> None:
    nll = [one + by / 10 for one, by in zip(factory.LOSSES, WOBBLE, strict=True)]
    a, b = source(quality()), source(quality(kl=[3 * kl for kl in KL], nll=nll))
    found = compare_sources(a, b)
    said = "1 of 1 cells differs: gptq, kl divergence worse by 200 %."
    page = render(found, a, b)
    assert said in Reader(page).text
    assert '<td class="text verdict worse">worse, beyond the interval</td>' in page
    assert "95% interval" in page
    text = markdown(found, a, b)
    assert "| worse, beyond the interval | +200 % |" in text
    assert "differs, within the interval" in text


def test_cells_of_the_same_name_are_counted_apart() -> None:
    """Repetitions of a cell share model, label, dtype and device."""
    a = [quality(), replace(quality(), cell=factory.cell("gptq", repetition=1))]
    b = [changed(record, "memory", weight_bytes=1) for record in a]
    found = compare(a, b)
    assert headline(found, differing_lines(found)).startswith("2 of 2 cells differ: ")
