"""Speedups by shared blocks: exact where the machine drifts, and an interval only where there were turns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qbench.results.frames.frame import from_records
from qbench.results.store.record import Record
from tests.results import factory

SINCE = "2026-11-21T10:56:00.250000+00:00"
NAMES = ["decode_speedup", "decode_speedup_low", "decode_speedup_high"]
DRIFT = [1.0, 1.7, 0.8, 2.9, 1.1, 1.4, 2.2, 0.9, 3.5]
"""How slow the machine was in each lap."""


def timed(laps: list[int], decode: list[float], method: str = "none", since: str | None = SINCE) -> Record:
    """A cell with one round in each of these laps: seconds of the prefill ten times those of a step."""
    latency = factory.latency([10 * seconds for seconds in decode], [[seconds] * 3 for seconds in decode])
    if since is not None:
        latency["runs"][0].update({"lap": laps, "since": since})
    return factory.record(method, samples=factory.samples(latency=latency))


def row(*records: Record) -> dict[str, Any]:
    """The first record's."""
    return from_records(records).to_dict("records")[0]


def test_what_slows_both_alike_is_in_neither_speedup_nor_interval() -> None:
    """The base warmed up longer and was timed in other laps too: its median is of slower laps."""
    laps = list(range(9))
    base = timed(laps, [0.002 * slow for slow in DRIFT])
    cell = timed(laps[:6], [0.001 * slow for slow in DRIFT[:6]], "absmax")
    found = row(cell, base)
    assert [found[name] for name in NAMES] == pytest.approx([2.0, 2.0, 2.0], rel=1e-12)
    assert found["prefill_speedup_low"] == pytest.approx(2.0, rel=1e-12)
    quotient = np.median(DRIFT) * 2 / np.median(DRIFT[:6])
    assert abs(quotient - 2) > 0.1


def test_laps_are_matched_by_number_not_by_place() -> None:
    base = timed([7, 3, 4, 5, 6, 9], [0.002 * DRIFT[lap - 3] for lap in (7, 3, 4, 5, 6, 9)])
    cell = timed([3, 4, 5, 6, 7, 9], [0.001 * DRIFT[lap - 3] for lap in (3, 4, 5, 6, 7, 9)], "absmax")
    assert [row(cell, base)[name] for name in NAMES] == pytest.approx([2.0, 2.0, 2.0], rel=1e-12)


def test_the_interval_holds_the_true_speedup_in_95_percent_of_cases() -> None:
    """Cells of true speedup 1.5 under drift and noise of 10 %, 400 runs of 7 laps."""
    chance = np.random.default_rng(5)
    held, laps = 0, list(range(7))
    for _ in range(400):
        slow, noise = chance.uniform(1, 3, 7), np.exp(chance.normal(0, 0.1, (2, 7)))
        base, cell = (0.003 * slow * noise[0], 0.002 * slow * noise[1])
        found = row(timed(laps, list(cell), "absmax"), timed(laps, list(base)))
        assert found["decode_speedup"] == pytest.approx(np.median(base / cell), rel=1e-12)
        held += found["decode_speedup_low"] <= 1.5 <= found["decode_speedup_high"]
    assert held / 400 >= 0.95


@pytest.mark.parametrize(
    ("since", "laps", "reason"),
    [
        ("2026-11-21T11:00:00+00:00", [0, 1, 2, 3, 4, 5], "base and cell did not take turns"),
        (None, [0, 1, 2, 3, 4, 5], "base and cell did not take turns"),
        (SINCE, [6, 7, 8, 9, 10, 11], "base and cell did not take turns"),
        (SINCE, [1, 2, 3, 4, 5, 6], "fewer than 6 shared blocks"),
    ],
)
def test_no_interval_without_turns(since: str | None, laps: list[int], reason: str) -> None:
    base = timed([0, 1, 2, 3, 4, 5], [0.002] * 6, since=since)
    found = row(timed(laps, [0.001] * 6, "absmax"), base)
    assert found["decode_speedup"] == pytest.approx(2.0)
    assert pd.isna(found["decode_speedup_low"])
    assert pd.isna(found["prefill_speedup_high"])
    missing = json.loads(found["missing"])
    assert {
        missing[f"{part}_speedup_{end}"] for part in ("prefill", "decode") for end in ("low", "high")
    } == {reason}


def test_one_generated_token_has_a_speedup_of_the_prefill_alone() -> None:
    records = []
    for method in ("absmax", "none"):
        latency = factory.latency([0.01] * 6, [[]] * 6)
        latency["runs"][0].update({"lap": list(range(6)), "since": SINCE})
        records.append(factory.record(method, samples=factory.samples(latency=latency)))
    found = row(*records)
    assert [found[name] for name in ("prefill_speedup_low", "prefill_speedup_high")] == [1.0, 1.0]
    assert found["decode_speedup"] is None or pd.isna(found["decode_speedup"])
    assert "two generated tokens" in json.loads(found["missing"])["decode_speedup_low"]
