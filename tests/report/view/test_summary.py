"""Fronts, sentences and reasons: what the page says, against hand calculations and brute force."""

from __future__ import annotations

import dataclasses
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.probes.energy.measure.meter import Reason
from qbench.report.charts.costs import front
from qbench.report.text.markdown_text import escaped
from qbench.report.view.cells import cut, in_words
from qbench.report.view.context import plain_rows
from qbench.report.view.summary import answer
from qbench.results.frames.frame import from_records
from qbench.results.store.record import Record
from tests.results import factory

BASE = factory.LOSSES


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_front_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    def dominated(point: tuple[float, float]) -> bool:
        return any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points)

    chosen = [points[index] for index in front(points)]
    assert set(chosen) == {point for point in points if not dominated(point)}
    assert chosen == sorted(set(chosen))


def cell(label: str, bits: float, loss: float, noise: float = 0.0) -> Record:
    nll = [nats + 511 * math.log(loss) + noise * (-1) ** (place // 2) for place, nats in enumerate(BASE)]
    samples = factory.samples(perplexity=factory.perplexity(nll), memory=factory.memory(5_800_000))
    return factory.record(
        "absmax", cell=factory.cell("absmax", label=label, params={"label": label}),
        layers=[factory.layer(bits)], samples=samples,
    )  # fmt: skip


def say(*records: Record) -> str:
    return answer(plain_rows(from_records(records))).replace("\u00a0", " ")


def test_the_least_loss_under_the_tightest_budget() -> None:
    said = say(
        factory.record(),
        cell("absmax 8", 8.25, 1.001),
        cell("absmax 4", 4.25, 1.05),
        cell("absmax 3", 3.25, 1.4),
    )
    assert said == (
        "At ≤ 4.5 bits per weight, absmax 4 loses least: perplexity 1.050 × base, 0.50 × weight memory, "
        "1.0 × decode speed."
    )


def test_a_speedup_by_shared_laps_is_said_with_its_interval() -> None:
    records = []
    for one, steps in (
        (factory.record(), [4.0] * 6),
        (cell("absmax 4", 4.25, 1.05), [1.9, 1.95, 2.0, 2.0, 2.05, 2.1]),
    ):
        latency = factory.latency([0.01] * 6, [[seconds] for seconds in steps])
        latency["runs"][0].update({"lap": list(range(6)), "since": "2026-11-21T10:56:00.250+00:00"})
        records.append(dataclasses.replace(one, samples={**one.samples, "latency": latency}))
    assert "2.00 ± 0.10 × decode speed" in say(*records)


def test_a_tie_is_named_as_a_tie() -> None:
    said = say(factory.record(), cell("absmax a", 4.25, 1.050, 20.0), cell("absmax b", 4.25, 1.051, 20.0))
    assert "absmax a ties for the least loss" in said
    assert said.endswith("Tied with absmax b.")


def test_one_window_claims_no_winner() -> None:
    records = []
    for one, nats in (
        (factory.record(), 2000.0),
        (cell("absmax a", 4.25, 1.0), 2010.0),
        (cell("absmax b", 4.25, 1.0), 2100.0),
    ):
        changed = {**one.samples, "perplexity": factory.perplexity([nats])}
        records.append(dataclasses.replace(one, samples=changed))
    said = say(*records)
    assert "absmax a measured lowest: perplexity 1.020 × base" in said
    assert said.endswith("There is no interval to judge by: one window says nothing of the spread.")


def test_repetitions_of_a_cell_are_no_rivals_of_it() -> None:
    twice = [cell("absmax a", 4.25, 1.05, 20.0), cell("absmax a", 4.25, 1.051, 20.0)]
    twice[1] = dataclasses.replace(twice[1], cell=dataclasses.replace(twice[1].cell, repetition=1))
    assert "absmax a is the one measured: perplexity" in say(factory.record(), *twice)
    worse = cell("absmax b", 4.25, 1.4, 20.0)
    assert "absmax a loses least: perplexity" in say(factory.record(), *twice, worse)


def test_who_has_no_interval_is_named_with_the_reason() -> None:
    rows = plain_rows(
        from_records([factory.record(), cell("absmax a", 4.25, 1.05), cell("absmax b", 4.25, 1.1)])
    )
    lacking = next(row for row in rows if row["label"] == "absmax b")
    lacking |= {"perplexity_ratio_low": None, "perplexity_ratio_high": None}
    lacking["missing"] = {**lacking["missing"], "perplexity_ratio_low": "too large for a number"}
    assert answer(rows).endswith("absmax b has no interval to judge by: too large for a number.")


def test_a_long_label_or_reason_is_cut_and_still_told_from_another() -> None:
    long = "gptq " + 1_000_000 * "x"
    said = say(factory.record(), cell(f"{long}a", 4.25, 1.05), cell(f"{long}b", 4.25, 1.4))
    assert said.count("absmax") == 1
    assert "loses least" in said
    assert "(1000006 characters)" in said
    assert len(said) < 500
    failed = factory.failed()
    failed = dataclasses.replace(failed, error={**(failed.error or {}), "message": 1_000_000 * "y"})
    assert len(say(failed)) < 1000
    assert "the one cell did not finish" in say(failed)


def test_without_a_base_perplexity_stands_alone() -> None:
    assert "there is no base to relate it to" in say(cell("absmax 4", 4.25, 1.05))


def test_without_quality_the_answer_says_so() -> None:
    record = factory.record("absmax", samples={})
    assert (
        say(record)
        == "At ≤ 8.5 bits per weight, absmax stores least, 8.25 bits per weight; quality was not measured."
    )


def diverged(label: str, bits: float, method: str = "hqq") -> Record:
    quality = factory.perplexity([None, *BASE[1:]])
    return factory.record(
        method, cell=factory.cell(method, label=label, params={"label": label}),
        layers=[factory.layer(bits)], samples=factory.samples(perplexity=quality),
    )  # fmt: skip


def test_a_diverged_cell_sets_no_budget_and_is_named() -> None:
    eights = cell("absmax 8", 8.25, 1.001), cell("gptq 8 absmax", 8.25, 1.2)
    said = say(factory.record(), *eights, diverged("hqq 2", 2.25))
    assert said.startswith("At ≤ 8.5 bits per weight, absmax 8 loses least: perplexity 1.001 × base, ")
    assert said.endswith("decode speed. hqq 2 has no finite perplexity.")
    five = [diverged(f"hqq {place}", 2.25) for place in range(5)]
    assert say(factory.record(), *eights, *five).endswith(
        "hqq 0, hqq 1, hqq 2 and 2 more have no finite perplexity."
    )


def test_the_one_with_a_number_is_not_the_one_measured() -> None:
    said = say(
        factory.record(), cell("absmax 8", 8.25, 1.001), cell("absmax 4", 4.25, 1.02), diverged("hqq 3", 3.25)
    )
    assert said.startswith(
        "At ≤ 4.5 bits per weight, absmax 4 is the only one with a perplexity to compare: "
        "perplexity 1.020 × base, "
    )
    assert said.endswith(". hqq 3 has no finite perplexity.")


def test_where_all_diverged_quality_was_measured_all_the_same() -> None:
    assert say(factory.record(), diverged("hqq 2", 2.25), diverged("hqq 3", 3.25)) == (
        "At ≤ 4.5 bits per weight, hqq 2 stores least, 2.25 bits per weight; "
        "no finite perplexity was measured."
    )


def test_a_tie_without_a_base_is_a_tie() -> None:
    pair = cell("absmax 4", 4.25, 1.002), cell("absmax b", 4.5, 1.006)
    assert say(factory.failed("none", "oom", "killed"), *pair) == (
        "At ≤ 4.5 bits per weight, absmax 4 ties for the lowest: perplexity 50.7 ± 2.5; the base ran out of "
        "memory. Tied with absmax b."
    )
    assert "; there is no base to relate it to. Tied with absmax b." in say(*pair)
    far = say(pair[0], cell("absmax b", 4.5, 2.0))
    assert "absmax 4 measured lowest: perplexity 50.7 ± 2.5; there is no base to relate it to." in far
    assert "Tied" not in far


@pytest.mark.parametrize(
    ("base", "said"),
    [
        (factory.failed("none"), "the base failed"),
        (factory.failed("none", "timeout", "x"), "the base ran out of time"),
        (factory.failed("none", "skipped", "x"), "the base was skipped"),
        (factory.record(samples={}), "the base was not scored"),
        (
            factory.record(samples=factory.samples(perplexity=factory.perplexity([None, *BASE[1:]]))),
            "the base has no finite perplexity",
        ),
        (
            factory.record(samples=factory.samples(perplexity=factory.perplexity(protocol="strided"))),
            "the base was scored on other windows",
        ),
    ],
)
def test_why_a_perplexity_stands_alone(base: Record, said: str) -> None:
    told = say(base, cell("absmax 4", 4.25, 1.002))
    assert told == f"At ≤ 4.5 bits per weight, absmax 4 is the one measured: perplexity 50.7 ± 2.5; {said}."


def test_only_the_base() -> None:
    assert say(factory.record()).startswith(
        "Only the unquantized model finished: perplexity 50.6 ± 2.5, 11.6 MB"
    )


def test_all_failed_gives_the_first_reason() -> None:
    assert say(factory.failed(), factory.failed("awq", "oom", "x")) == (
        "No number yet: none of the 2 cells finished. First reason: gptq, failed: ValueError: group_size 7"
    )


@pytest.mark.parametrize("code", get_args(Reason))
def test_every_code_of_a_probe_has_words(code: str) -> None:
    for device in ("cpu", "cuda:0"):
        assert " " in in_words(code, device)
    assert in_words("no ok `none` cell", "cpu") == "no ok none cell"


def test_a_cut_takes_more_than_its_mark_needs() -> None:
    for longest, text in ((240, 252 * "x"), (240, 270 * "x"), (600, 612 * "y")):
        assert cut(text, longest) == text
        assert escaped(text, longest) == text
    for text in (cut(271 * "x", 240), escaped(271 * "x", 240)):
        assert text == 240 * "x" + " … (271 characters)"
