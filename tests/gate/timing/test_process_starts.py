"""Whole starts: luck that lasts as long as a process is no regression, and a regression is
one."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest

from qbench.gate.timing.process_starts import FEWEST_BLOCKS, FRACTIONS, ProcessStarts, log_e
from qbench.gate.timing.timed import LEAST_STARTS, TimedComparisons
from qbench.gate.verdicts.finding import GateResult, Verdict

METRIC = "decode_s_per_token"
TAU = float(np.log(1.03))
ALPHA = 0.05


def _run(slow: float, luck: float, seed: int, *, confirm: bool = True, starts: int = 14) -> TimedComparisons:
    """Eight cells whose processes are each slower or faster by luck, as long as they live."""
    rng = np.random.default_rng(seed)
    cells = [str(number) for number in range(8)]
    comparisons = TimedComparisons({cell: {METRIC: 1.03} for cell in cells}, {}, confirm=confirm)
    for start in range(1, starts + 1):
        for cell in comparisons.open_cells():
            lucky = np.exp(luck * rng.standard_normal(2))
            for _ in range(60):
                if not comparisons.open(cell, start):
                    break
                times = 0.01 * lucky * np.exp(0.01 * rng.standard_normal(2))
                times[1] *= slow if cell == "3" else 1.0
                comparisons.add_block(cell, {METRIC: times[0]}, {METRIC: times[1]}, start)
    return comparisons


def _verdict(comparisons: TimedComparisons, cell: str) -> Verdict:
    return comparisons.verdicts()[cell, METRIC]


def test_the_luck_of_processes_alarms_by_blocks_alone_and_not_by_starts() -> None:
    """Luck of ±3 %: many a pair of processes truly differs by more than the threshold."""
    runs = 25
    alarms = {
        confirm: sum(
            "worse" in _run(1.0, 0.03, seed, confirm=confirm).verdicts().values() for seed in range(runs)
        )
        for confirm in (True, False)
    }
    assert alarms[False] > runs / 2
    assert binomtest(alarms[True], runs, ALPHA, alternative="greater").pvalue > 1e-3


def test_a_regression_is_confirmed_by_fresh_processes() -> None:
    found = sum(_verdict(_run(1.08, 0.01, seed), "3") == "worse" for seed in range(15))
    assert found >= 14
    comparisons = _run(1.08, 0.01, 0)
    finding = next(one for one in comparisons.findings() if one.cell_id == "3")
    assert finding.verdict == "worse"
    assert "fresh pairs of processes (p = " in finding.reason
    assert finding.p is not None
    assert finding.p <= ALPHA
    assert GateResult("s", comparisons.findings()).exit_code == 1


def test_one_start_calls_nothing_worse_however_many_blocks_it_has() -> None:
    comparisons = _run(1.2, 0.0, 0, starts=1)
    assert _verdict(comparisons, "3") == "undecided"
    assert not comparisons.open("3", 1)
    assert comparisons.open("3", 2)
    assert comparisons.open("3")
    finding = next(one for one in comparisons.findings(ended="the budget ended") if one.cell_id == "3")
    assert "after 1 fresh pair of processes; the budget ended" in finding.reason
    assert GateResult("s", comparisons.findings()).exit_code == 3


def test_blocks_of_one_start_say_the_same_only_with_a_margin() -> None:
    """+2 % of a threshold of 3 %: one pair of processes could owe that much to its luck, three less so."""
    near = _quiet(1.02)
    assert near(1) == "undecided"
    assert near(LEAST_STARTS) == "same"
    assert _quiet(1.01)(1) == "same"


def _quiet(factor: float) -> Callable[[int], Verdict]:
    def verdict(starts: int) -> Verdict:
        comparisons = TimedComparisons({"a": {METRIC: 1.03}}, {}, confirm=True)
        rng = np.random.default_rng(0)
        for start in range(1, starts + 1):
            for _ in range(30):
                times = 0.01 * np.exp(0.002 * rng.standard_normal(2))
                comparisons.add_block("a", {METRIC: times[0]}, {METRIC: factor * times[1]}, start)
        return comparisons.verdicts()["a", METRIC]

    return verdict


def test_the_comparisons_is_all_that_was_planned() -> None:
    """Holm's bar for a single regression is m / alpha, whatever was sampled and whatever looks suspect."""
    needed = {}
    for planned in (1, 120):
        cells = {str(number): {METRIC: 1.03} for number in range(planned)}
        comparisons = TimedComparisons(cells, {}, confirm=True)
        for start in itertools.count(1):
            for _ in range(FEWEST_BLOCKS):
                comparisons.add_block("0", {METRIC: 0.01}, {METRIC: 0.02}, start)
            if comparisons.verdicts()["0", METRIC] == "worse":
                needed[planned] = start
                break
    wealth = [np.mean((1 + FRACTIONS) ** start) for start in range(30)]
    for planned, start in needed.items():
        assert wealth[start - 1] < planned / ALPHA <= wealth[start]


def test_what_is_the_same_stays_the_same() -> None:
    comparisons = TimedComparisons({"a": {METRIC: 1.03, "prefill_s": 1.03}}, {}, confirm=True)
    for start in range(1, 40):
        factor = 1.0 if start <= 2 else 1.2
        for _ in range(20):
            comparisons.add_block(
                "a", {METRIC: 0.01, "prefill_s": 0.01}, {METRIC: 0.01 * factor, "prefill_s": 0.01}, start
            )
    (finding,) = (one for one in comparisons.findings() if one.metric == METRIC)
    assert finding.verdict == "same"
    assert finding.p == 1.0


def test_what_looks_worst_is_the_most_urgent() -> None:
    factors = {"fine": 0.98, "same": 1.0, "near": 1.03, "slow": 1.06}
    comparisons = TimedComparisons({cell: {METRIC: 1.03} for cell in factors}, {}, confirm=True)
    rng = np.random.default_rng(1)
    for _ in range(12):
        for cell, factor in factors.items():
            times = 0.01 * np.exp(0.05 * rng.standard_normal(2))
            comparisons.add_block(cell, {METRIC: times[0]}, {METRIC: factor * times[1]}, 1)
    urgency = {cell: comparisons.urgency(cell) for cell in factors if comparisons.open(cell)}
    assert max(urgency, key=lambda cell: urgency[cell]) == "slow"


def test_log_e_is_the_average_wealth_of_its_bets() -> None:
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.005, 0.02, 9)
    medians = TAU + scales * rng.normal(0.5, 1, 9)
    wealth = {1: np.ones(len(FRACTIONS)), -1: np.ones(len(FRACTIONS))}
    best = {1: 1.0, -1: 1.0}
    for median, scale in zip(medians, scales, strict=True):
        for sign, own in wealth.items():
            own *= 1 + FRACTIONS * np.tanh(sign * (median - TAU) / scale)
            best[sign] = max(best[sign], float(own.mean()))
    found = log_e(medians, scales, TAU)
    assert np.exp(found.beyond) == pytest.approx(best[1])
    assert np.exp(found.within) == pytest.approx(best[-1])
    assert np.exp(found.beyond_now) == pytest.approx(wealth[1].mean())


def test_over_all_signs_the_wealth_is_one_on_average() -> None:
    """The null by enumeration: exchanging the processes of a start turns its median about the threshold."""
    gaps, scales = np.array([0.001, 0.004, 0.02, 0.3, 0.0005]), np.full(5, 0.005)
    ends = [
        np.exp(log_e(TAU + np.array(signs) * gaps, scales, TAU).beyond_now)
        for signs in itertools.product((-1, 1), repeat=len(gaps))
    ]
    assert np.mean(ends) == pytest.approx(1.0)


def test_exchanging_the_processes_of_a_start_changes_neither_its_blocks_nor_its_scale() -> None:
    """The number of blocks that count must not depend on their signs, or the e-value would not be one."""
    rng = np.random.default_rng(2)
    first, second = (TAU + 0.05 * rng.standard_normal(60) for _ in range(2))
    played = {sign: ProcessStarts(np.array([TAU])) for sign in (1, -1)}
    for sign, starts in played.items():
        for start, blocks in ((1, first), (2, second)):
            for value in TAU + sign * (blocks - TAU):
                starts.add(start, [float(value)], np.array([0.04]))
    one, other = (played[sign].medians(0) for sign in (1, -1))
    assert np.allclose(one - TAU, TAU - other)
    assert played[1].scales(0).tolist() == played[-1].scales(0).tolist()


def test_what_counts_are_the_first_blocks_of_each_start() -> None:
    starts = ProcessStarts(np.array([0.0]))
    for start in (1, 2, 3, 4):
        for block in range(FEWEST_BLOCKS + 3 if start != 3 else FEWEST_BLOCKS - 1):
            assert starts.wants(0, start) is (block < FEWEST_BLOCKS)
            starts.add(start, [start + (0.1 if block >= FEWEST_BLOCKS else 0.0)], np.array([0.0]))
    assert starts.medians(0).tolist() == [1.0, 2.0, 4.0]


def test_a_start_that_time_ended_counts_from_the_fewest_blocks_on() -> None:
    starts = ProcessStarts(np.array([0.0]))
    for start, blocks in ((1, FEWEST_BLOCKS), (2, FEWEST_BLOCKS), (3, FEWEST_BLOCKS - 1), (4, 1)):
        for _ in range(blocks):
            starts.add(start, [float(start)], np.array([1.0]))  # so noisy that more blocks are wanted
    assert starts.wants(0, 4)
    assert starts.medians(0).tolist() == [1.0, 2.0]
