"""Whole loads: luck that lasts as long as a process is no regression, and a regression is
one."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest

from qbench.gate.timing.process_starts import FRACTIONS, LAPS, Loads, log_e
from qbench.gate.timing.timed import LEAST_LOADS, TimedFamily
from qbench.gate.verdicts.finding import GateResult, Verdict

METRIC = "decode_s_per_token"
TAU = float(np.log(1.03))
ALPHA = 0.05


def _night(slow: float, luck: float, seed: int, *, confirm: bool = True, loads: int = 14) -> TimedFamily:
    """Eight cells whose processes are each slower or faster by luck, as long as they live."""
    rng = np.random.default_rng(seed)
    cells = [str(number) for number in range(8)]
    family = TimedFamily({cell: {METRIC: 1.03} for cell in cells}, {}, confirm=confirm)
    for load in range(1, loads + 1):
        for cell in family.open_cells():
            lucky = np.exp(luck * rng.standard_normal(2))
            for _ in range(60):
                if not family.open(cell, load):
                    break
                times = 0.01 * lucky * np.exp(0.01 * rng.standard_normal(2))
                times[1] *= slow if cell == "3" else 1.0
                family.add_lap(cell, {METRIC: times[0]}, {METRIC: times[1]}, load)
    return family


def _verdict(family: TimedFamily, cell: str) -> Verdict:
    return family.verdicts()[cell, METRIC]


def test_the_luck_of_processes_alarms_by_laps_alone_and_not_by_loads() -> None:
    """Luck of ±3 %: many a pair of processes truly differs by more than the threshold."""
    nights = 25
    alarms = {
        confirm: sum(
            "worse" in _night(1.0, 0.03, seed, confirm=confirm).verdicts().values() for seed in range(nights)
        )
        for confirm in (True, False)
    }
    assert alarms[False] > nights / 2
    assert binomtest(alarms[True], nights, ALPHA, alternative="greater").pvalue > 1e-3


def test_a_regression_is_confirmed_by_fresh_processes() -> None:
    found = sum(_verdict(_night(1.08, 0.01, seed), "3") == "worse" for seed in range(15))
    assert found >= 14
    family = _night(1.08, 0.01, 0)
    finding = next(one for one in family.findings() if one.cell_id == "3")
    assert finding.verdict == "worse"
    assert "fresh pairs of processes (p = " in finding.reason
    assert finding.p is not None
    assert finding.p <= ALPHA
    assert GateResult("s", family.findings()).exit_code == 1


def test_one_load_calls_nothing_worse_however_many_laps_it_has() -> None:
    family = _night(1.2, 0.0, 0, loads=1)
    assert _verdict(family, "3") == "undecided"
    assert not family.open("3", 1)
    assert family.open("3", 2)
    assert family.open("3")
    finding = next(one for one in family.findings(ended="the budget ended") if one.cell_id == "3")
    assert "after 1 fresh pair of processes; the budget ended" in finding.reason
    assert GateResult("s", family.findings()).exit_code == 3


def test_laps_of_one_load_say_the_same_only_with_a_margin() -> None:
    """+2 % of a threshold of 3 %: one pair of processes could owe that much to its luck, three less so."""
    near = _quiet(1.02)
    assert near(1) == "undecided"
    assert near(LEAST_LOADS) == "same"
    assert _quiet(1.01)(1) == "same"


def _quiet(factor: float) -> Callable[[int], Verdict]:
    def verdict(loads: int) -> Verdict:
        family = TimedFamily({"a": {METRIC: 1.03}}, {}, confirm=True)
        rng = np.random.default_rng(0)
        for load in range(1, loads + 1):
            for _ in range(30):
                times = 0.01 * np.exp(0.002 * rng.standard_normal(2))
                family.add_lap("a", {METRIC: times[0]}, {METRIC: factor * times[1]}, load)
        return family.verdicts()["a", METRIC]

    return verdict


def test_the_family_is_all_that_was_planned() -> None:
    """Holm's bar for a single regression is m / alpha, whatever was sampled and whatever looks suspect."""
    needed = {}
    for planned in (1, 120):
        cells = {str(number): {METRIC: 1.03} for number in range(planned)}
        family = TimedFamily(cells, {}, confirm=True)
        for load in itertools.count(1):
            for _ in range(LAPS):
                family.add_lap("0", {METRIC: 0.01}, {METRIC: 0.02}, load)
            if family.verdicts()["0", METRIC] == "worse":
                needed[planned] = load
                break
    wealth = [np.mean((1 + FRACTIONS) ** load) for load in range(30)]
    for planned, load in needed.items():
        assert wealth[load - 1] < planned / ALPHA <= wealth[load]


def test_what_is_the_same_stays_the_same() -> None:
    family = TimedFamily({"a": {METRIC: 1.03, "prefill_s": 1.03}}, {}, confirm=True)
    for load in range(1, 40):
        factor = 1.0 if load <= 2 else 1.2
        for _ in range(20):
            family.add_lap(
                "a", {METRIC: 0.01, "prefill_s": 0.01}, {METRIC: 0.01 * factor, "prefill_s": 0.01}, load
            )
    (finding,) = (one for one in family.findings() if one.metric == METRIC)
    assert finding.verdict == "same"
    assert finding.p == 1.0


def test_what_looks_worst_is_the_most_urgent() -> None:
    factors = {"fine": 0.98, "same": 1.0, "near": 1.03, "slow": 1.06}
    family = TimedFamily({cell: {METRIC: 1.03} for cell in factors}, {}, confirm=True)
    rng = np.random.default_rng(1)
    for _ in range(12):
        for cell, factor in factors.items():
            times = 0.01 * np.exp(0.05 * rng.standard_normal(2))
            family.add_lap(cell, {METRIC: times[0]}, {METRIC: factor * times[1]}, 1)
    urgency = {cell: family.urgency(cell) for cell in factors if family.open(cell)}
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
    """The null by enumeration: exchanging the processes of a load turns its median about the threshold."""
    gaps, scales = np.array([0.001, 0.004, 0.02, 0.3, 0.0005]), np.full(5, 0.005)
    ends = [
        np.exp(log_e(TAU + np.array(signs) * gaps, scales, TAU).beyond_now)
        for signs in itertools.product((-1, 1), repeat=len(gaps))
    ]
    assert np.mean(ends) == pytest.approx(1.0)


def test_exchanging_the_processes_of_a_load_changes_neither_its_laps_nor_its_scale() -> None:
    """What settles how many laps count must not know which sign they have, or the bet would not be fair."""
    rng = np.random.default_rng(2)
    first, second = (TAU + 0.05 * rng.standard_normal(60) for _ in range(2))
    played = {sign: Loads(np.array([TAU])) for sign in (1, -1)}
    for sign, loads in played.items():
        for load, laps in ((1, first), (2, second)):
            for value in TAU + sign * (laps - TAU):
                loads.add(load, [float(value)], np.array([0.04]))
    one, other = (played[sign].medians(0) for sign in (1, -1))
    assert np.allclose(one - TAU, TAU - other)
    assert played[1].scales(0).tolist() == played[-1].scales(0).tolist()


def test_what_counts_are_the_first_laps_of_each_load() -> None:
    loads = Loads(np.array([0.0]))
    for load in (1, 2, 3, 4):
        for lap in range(LAPS + 3 if load != 3 else LAPS - 1):
            assert loads.wants(0, load) is (lap < LAPS)
            loads.add(load, [load + (0.1 if lap >= LAPS else 0.0)], np.array([0.0]))
    assert loads.medians(0).tolist() == [1.0, 2.0, 4.0]


def test_a_load_that_time_ended_counts_from_the_fewest_laps_on() -> None:
    loads = Loads(np.array([0.0]))
    for load, laps in ((1, LAPS), (2, LAPS), (3, LAPS - 1), (4, 1)):
        for _ in range(laps):
            loads.add(load, [float(load)], np.array([1.0]))  # so noisy that more laps are wanted
    assert loads.wants(0, 4)
    assert loads.medians(0).tolist() == [1.0, 2.0]
