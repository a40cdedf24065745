"""A comparisons of timed comparisons: verdicts, what closes a cell, broken clocks, lost metrics."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from qbench.errors import ResultsError
from qbench.gate.timing.timed import TimedComparisons
from qbench.gate.verdicts.finding import Finding, GateResult

CELLS = ("a", "b", "c")
THRESHOLDS = {cell: {"prefill_s": 1.03, "decode_s_per_token": 1.03} for cell in CELLS}
NAMES = {cell: f"austen-6m {cell} bf16 cpu" for cell in CELLS}
Slow = Callable[[str, str, int], float]
"""Cell, metric and block → by which factor the candidate is slower."""


def _run(slow: Slow, blocks: int = 80, spread: float = 0.02, **settings: object) -> TimedComparisons:
    comparisons = TimedComparisons(THRESHOLDS, NAMES, **settings)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for block in range(blocks):
        for cell in comparisons.open_cells():
            baseline = {name: 0.01 * math.exp(spread * rng.standard_normal()) for name in THRESHOLDS[cell]}
            candidate = {
                name: 0.01 * math.exp(spread * rng.standard_normal()) * slow(cell, name, block)
                for name in THRESHOLDS[cell]
            }
            comparisons.add_block(cell, baseline, candidate)
    return comparisons


def _by(found: tuple[Finding, ...], cell: str, metric: str = "decode_s_per_token") -> Finding:
    return next(finding for finding in found if (finding.cell_id, finding.metric) == (cell, metric))


@pytest.mark.parametrize("correction", ["holm", "bh"])
def test_a_slow_cell_is_worse_and_the_others_are_the_same(correction: str) -> None:
    comparisons = _run(
        lambda cell, name, block: 1.1 if (cell, name[0]) == ("b", "d") else 1.0, correction=correction
    )
    found = comparisons.findings()
    worse = _by(found, "b")
    assert [finding.verdict for finding in found].count("worse") == 1
    assert worse.verdict == "worse"
    assert worse.p is not None
    assert worse.p <= 0.05
    assert worse.change == pytest.approx(1.1, rel=0.03)
    assert worse.low is not None
    assert worse.high is not None
    assert worse.low < 1.1 < worse.high
    assert "+3 %" in worse.reason
    assert all(finding.verdict == "same" for finding in found if finding is not worse)
    assert GateResult("s", found).exit_code == 1
    assert not comparisons.open_cells()
    assert comparisons.blocks < 80


def test_sampling_stops_for_a_cell_as_soon_as_it_is_decided() -> None:
    comparisons = _run(lambda *_: 1.0)
    assert not comparisons.open_cells()
    assert len({_by(comparisons.findings(), cell).samples for cell in CELLS}) > 1
    assert GateResult("s", comparisons.findings()).exit_code == 0


def test_far_better_is_better() -> None:
    comparisons = TimedComparisons({"a": {"prefill_s": 1.03}}, NAMES)
    for _ in range(30):
        comparisons.add_block("a", {"prefill_s": 0.01}, {"prefill_s": 0.005})
    (found,) = comparisons.findings()
    assert found.verdict == "better"
    assert GateResult("s", (found,)).exit_code == 0


def test_more_tokens_a_second_are_better_and_fewer_worse() -> None:
    comparisons = TimedComparisons({cell: {"decode_tokens_per_s": 1.05} for cell in ("a", "b")}, NAMES)
    for _ in range(30):
        comparisons.add_block("a", {"decode_tokens_per_s": 100.0}, {"decode_tokens_per_s": 80.0})
        comparisons.add_block("b", {"decode_tokens_per_s": 100.0}, {"decode_tokens_per_s": 125.0})
    found = comparisons.findings()
    worse, better = (_by(found, cell, "decode_tokens_per_s") for cell in "ab")
    assert (worse.verdict, better.verdict) == ("worse", "better")
    assert worse.change == pytest.approx(0.8)
    assert worse.low is not None
    assert worse.high is not None
    assert worse.low <= 0.8 <= worse.high
    assert "-4.76 %" in worse.reason


def test_too_few_blocks_are_undecided_and_say_what_ended_them() -> None:
    comparisons = _run(lambda *_: 1.0, blocks=2)
    found = comparisons.findings(ended="the budget of 3 s was spent")
    assert {finding.verdict for finding in found} == {"undecided"}
    assert "the budget of 3 s was spent" in found[0].reason
    assert GateResult("s", found).exit_code == 3
    assert set(comparisons.open_cells()) == set(CELLS)


def test_no_block_at_all_is_undecided() -> None:
    found = TimedComparisons(THRESHOLDS, NAMES).findings()
    assert {finding.verdict for finding in found} == {"undecided"}
    assert GateResult("s", found).exit_code == 3


def test_a_clock_that_jumps_is_named_and_its_blocks_are_left_out() -> None:
    comparisons = TimedComparisons({"a": {"prefill_s": 1.03}}, NAMES)
    for block in range(40):
        jumped = {3: -0.2, 9: 0.0, 12: math.inf}.get(block, 0.01)
        comparisons.add_block("a", {"prefill_s": 0.01}, {"prefill_s": jumped})
    (found,) = comparisons.findings()
    assert found.verdict == "same"
    assert "left out 3 numbers that no clock gives, such as -0.2" in found.reason


def test_a_clock_that_never_goes_forward_decides_nothing() -> None:
    comparisons = TimedComparisons({"a": {"prefill_s": 1.03}}, NAMES)
    for _ in range(40):
        comparisons.add_block("a", {"prefill_s": 0.01}, {"prefill_s": -0.01})
    (found,) = comparisons.findings()
    assert found.verdict == "undecided"
    assert "no clock gives" in found.reason
    assert GateResult("s", (found,)).exit_code == 3


def test_one_hour_asleep_is_one_block_and_no_alarm() -> None:
    """A suspended machine: one absurd time on the candidate's side weighs no more than one bad block."""
    comparisons = _run(lambda cell, name, block: 360_000.0 if block == 4 else 1.0)
    assert {finding.verdict for finding in comparisons.findings()} == {"same"}


def test_a_metric_that_is_lost_is_missing_and_one_that_appears_is_new() -> None:
    comparisons = TimedComparisons(
        {"a": {"prefill_s": 1.03, "decode_s_per_token": 1.03, "quantize_s": 1.5}}, NAMES
    )
    for _ in range(30):
        comparisons.add_block("a", {"prefill_s": 0.01}, {"decode_s_per_token": 0.01, "prefill_s": None})
    assert not comparisons.open_cells()
    found = {finding.metric: finding for finding in comparisons.findings()}
    assert {name: finding.verdict for name, finding in found.items()} == {
        "prefill_s": "missing",
        "decode_s_per_token": "new",
    }
    assert GateResult("s", tuple(found.values())).exit_code == 1


def test_a_candidate_that_fails_is_failed() -> None:
    comparisons = _run(lambda *_: 1.0, blocks=3)
    comparisons.fail("b", "oom: out of memory")
    found = comparisons.findings()
    assert _by(found, "b").verdict == "failed"
    assert _by(found, "b").reason == "oom: out of memory"
    assert not comparisons.open("b")
    assert GateResult("s", found).exit_code == 1


def test_what_is_no_timed_metric_is_refused() -> None:
    with pytest.raises(ResultsError, match="did you mean 'prefill_s'"):
        TimedComparisons({"a": {"prefil_s": 1.03}}, NAMES)
    with pytest.raises(ResultsError, match="no timed metric"):
        TimedComparisons({"a": {"perplexity": 1.03}}, NAMES)
    with pytest.raises(ResultsError, match="did you mean 'holm'"):
        TimedComparisons(THRESHOLDS, NAMES, correction="hol")
