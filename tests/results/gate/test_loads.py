"""Suspects by fresh processes: luck that lasts as long as a process is no regression, and a regression is
one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from qbench.results.gate.finding import GateResult, Verdict
from qbench.results.gate.loads import FRACTIONS, LAPS, SCALE, Loads, log_e
from qbench.results.gate.timed import TimedFamily

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
    assert "pairs of processes that were loaded afterwards" in finding.reason
    assert finding.p is not None
    assert finding.p <= ALPHA
    assert GateResult("s", family.findings()).exit_code == 1


def test_one_load_can_only_make_a_suspect() -> None:
    family = _night(1.2, 0.0, 0, loads=1)
    assert _verdict(family, "3") == "undecided"
    assert not family.open("3", 1)
    assert family.open("3", 2)
    assert family.open("3")
    finding = next(one for one in family.findings(ended="the budget ended") if one.cell_id == "3")
    assert "suspect; 0 pairs of processes" in finding.reason
    assert finding.reason.endswith("cannot tell yet; the budget ended")
    assert GateResult("s", family.findings()).exit_code == 3


def test_log_e_is_the_average_wealth_of_its_bets() -> None:
    rng = np.random.default_rng(0)
    medians = TAU + SCALE * rng.normal(0.5, 1, 9)
    wealth = {1: np.ones(len(FRACTIONS)), -1: np.ones(len(FRACTIONS))}
    best = {1: 0.0, -1: 0.0}
    for median in medians:
        for sign, own in wealth.items():
            own *= 1 + FRACTIONS * np.tanh(sign * (median - TAU) / SCALE)
            best[sign] = max(best[sign], float(own.mean()))
    found = log_e(medians, TAU)
    assert np.exp(found.beyond) == pytest.approx(best[1])
    assert np.exp(found.within) == pytest.approx(best[-1])
    assert np.exp(found.beyond_now) == pytest.approx(wealth[1].mean())


def test_six_loads_of_one_mind_confirm_a_single_suspect() -> None:
    bar = np.log(1 / ALPHA)
    sure = np.full(6, TAU + 10 * SCALE)
    assert log_e(sure[:5], TAU).beyond < bar <= log_e(sure, TAU).beyond
    assert log_e(-sure, TAU).within >= bar


def test_over_all_signs_the_wealth_is_one_on_average() -> None:
    """The null by enumeration: exchanging the processes of a load turns its median about the threshold."""
    gaps = np.array([0.001, 0.004, 0.02, 0.3, 0.0005])
    ends = [
        np.exp(log_e(TAU + np.array(signs) * gaps, TAU).beyond_now)
        for signs in itertools.product((-1, 1), repeat=len(gaps))
    ]
    assert np.mean(ends) == pytest.approx(1.0)


def test_what_counts_are_the_first_laps_of_whole_later_loads() -> None:
    loads = Loads(1)
    loads.add(1, np.array([9.0]))
    loads.raise_suspicion(0, spread=0.0)
    loads.raise_suspicion(0, spread=1.0)  # already one: nothing changes
    loads.add(1, np.array([9.0]))
    assert not loads.laps_wanted(0, 1)
    for load in (2, 3, 4):
        for lap in range(LAPS + 3 if load != 3 else LAPS - 1):
            assert loads.laps_wanted(0, load) is (lap < LAPS)
            loads.add(load, np.array([load + (0.1 if lap >= LAPS else 0.0)]))
    assert loads.medians(0).tolist() == [2.0, 4.0]


def test_a_load_that_time_ended_counts_from_the_fewest_laps_on() -> None:
    loads = Loads(1)
    loads.add(1, np.array([0.0]))
    loads.raise_suspicion(0, spread=1.0)  # so noisy that more laps are wanted than the fewest
    for load, laps in ((2, LAPS), (3, LAPS - 1), (4, 1)):
        for _ in range(laps):
            loads.add(load, np.array([float(load)]))
    assert loads.laps_wanted(0, 4)
    assert loads.medians(0).tolist() == [2.0]
