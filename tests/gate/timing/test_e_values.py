"""The sequential test against simulation: nulls as nasty as a machine can be, each at the very edge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from qbench.gate.timing.e_values import BETTER, SAME, WELL, WORSE, Array, EValues, Interval

STREAMS, BLOCKS, ALPHA = 1500, 90, 0.05
TAU = float(np.log(1.03))
Places = Callable[[np.random.Generator], Array]
"""Draws log times [blocks, place, streams] of what the baseline would take in first and second place."""


def _noise(rng: np.random.Generator, scale: float = 0.03) -> Array:
    return scale * rng.standard_normal((BLOCKS, 2, STREAMS))


def _drift(rng: np.random.Generator) -> Array:
    return _noise(rng, 0.01) + np.linspace(0, 3, 2 * BLOCKS).reshape(BLOCKS, 2, 1)


def _bursts(rng: np.random.Generator) -> Array:
    """A tenth of all places takes three times as long, and a twentieth of all blocks in both places."""
    one = rng.random((BLOCKS, 2, STREAMS)) < 0.1
    both = rng.random((BLOCKS, 1, STREAMS)) < 0.05
    return _noise(rng) + np.log(3) * (one | both)


def _ar(rng: np.random.Generator) -> Array:
    steps = rng.standard_normal((2 * BLOCKS, STREAMS))
    for i in range(1, 2 * BLOCKS):
        steps[i] += 0.95 * steps[i - 1]
    return 0.03 * steps.reshape(BLOCKS, 2, STREAMS)


def _cauchy(rng: np.random.Generator) -> Array:
    return 0.05 * rng.standard_cauchy((BLOCKS, 2, STREAMS))


def _position(rng: np.random.Generator) -> Array:
    """The second place always takes a tenth longer, and its noise is skewed."""
    second = np.array([0.0, 0.1]).reshape(1, 2, 1)
    return second + 0.02 * rng.exponential(size=(BLOCKS, 2, STREAMS)) * (1 + 30 * second)


def _spread_grows(rng: np.random.Generator) -> Array:
    return _noise(rng) * np.geomspace(0.1, 30, BLOCKS).reshape(BLOCKS, 1, 1)


NULLS: dict[str, Places] = {
    "quiet": _noise,
    "drift": _drift,
    "bursts": _bursts,
    "autocorrelated": _ar,
    "cauchy": _cauchy,
    "position": _position,
    "growing spread": _spread_grows,
}


def _bet(places: Array, theta: float, rng: np.random.Generator, tau: float = TAU) -> EValues:
    """Lap by block: a fair coin says which place the candidate takes, and it takes e^theta times as long."""
    e_values = EValues(np.full(STREAMS, tau))
    for block in places:
        second = rng.random(STREAMS) < 0.5
        baseline, candidate = (
            np.where(second, block[0], block[1]),
            np.where(second, block[1], block[0]) + theta,
        )
        e_values.add(candidate - baseline)
    return e_values


def _at_most(hits: int, share: float) -> bool:
    """True unless so many of STREAMS speak against a true share of at most `share` (one in a million)."""
    return bool(binomtest(hits, STREAMS, share, alternative="greater").pvalue > 1e-6)


@pytest.mark.parametrize("null", NULLS)
def test_at_the_edge_of_each_null_wealth_rarely_ever_reaches_one_over_alpha(null: str) -> None:
    rng = np.random.default_rng([1, len(null)])
    e_values = _bet(NULLS[null](rng), TAU, rng)
    for test in (WORSE, SAME):  # BETTER is WORSE with the versions swapped, as another test shows
        hits = int((e_values.most_e[test] >= 1 / ALPHA).sum())
        assert _at_most(hits, ALPHA), f"{null}: {hits} of {STREAMS}"


def test_a_mean_wealth_above_one_would_show() -> None:
    """E is an expectation, not only a tail: the mean over many streams stays at 1 within its error."""
    rng = np.random.default_rng(3)
    e_values = _bet(_noise(rng)[:12], TAU, rng)
    wealth = e_values.e[WORSE]
    assert abs(wealth.mean() - 1) < 4 * wealth.std() / np.sqrt(STREAMS)


def test_without_a_coin_the_position_alone_would_alarm() -> None:
    """Purpose of the coin: with the candidate always second the same noise is called a regression."""
    rng = np.random.default_rng(4)
    e_values = EValues(np.full(STREAMS, TAU))
    for block in _position(rng):
        e_values.add(block[1] - block[0])
    assert (e_values.most_e[WORSE] >= 1 / ALPHA).mean() > 0.99


@pytest.mark.parametrize(("theta", "test"), [(0.08, WORSE), (0.0, SAME), (-0.08, BETTER)])
def test_what_is_true_is_found(theta: float, test: int) -> None:
    rng = np.random.default_rng(5)
    e_values = _bet(_bursts(rng), theta, rng)
    found = e_values.most_e[test] >= 1 / ALPHA
    assert found.mean() > 0.9
    assert (e_values.most_e[WORSE] >= 1 / ALPHA).mean() < 0.05 or theta > TAU


def test_swapping_the_versions_turns_worse_into_better() -> None:
    rng = np.random.default_rng(6)
    d = 0.05 * rng.standard_t(2, size=(40, 50)) + 0.02
    one, other = EValues(np.full(50, TAU)), EValues(np.full(50, TAU))
    for block in d:
        one.add(block)
        other.add(-block)
    assert np.allclose(one.e[WORSE], other.e[BETTER])


def test_a_block_without_a_ratio_changes_nothing() -> None:
    rng = np.random.default_rng(7)
    d = 0.05 * rng.standard_normal(30)
    e_values = EValues(np.array([TAU, TAU]))
    for value in d[:3]:
        e_values.add(np.array([value, value]))
    before = e_values.e.copy()
    e_values.add(np.array([np.nan, 0.5]))
    assert (e_values.e[:, 0] == before[:, 0]).all()
    assert (e_values.e[:, 1] != before[:, 1]).all()


def test_well_below_is_the_same_test_at_a_part_of_the_threshold() -> None:
    rng = np.random.default_rng(9)
    half, whole = EValues(np.full(20, TAU), margin=0.5), EValues(np.full(20, TAU / 2))
    for block in 0.05 * rng.standard_normal((40, 20)):
        half.add(block)
        whole.add(block)
    assert np.allclose(half.e[WELL], whole.e[SAME])
    assert (half.e[WELL] <= half.e[SAME]).all()


def test_a_block_is_worth_what_its_bets_gain_on_average() -> None:
    """One block by hand: the mean over λ and k of 1 + λ·tanh(k·(d − τ)/s)."""
    e_values = EValues(np.array([TAU]))
    e_values.add(np.array([0.07]))
    gains = [
        1 + fraction * np.tanh(shape * (0.07 - TAU) / 0.02)
        for fraction in (0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
        for shape in (0.5, 1.0, 4.0)
    ]
    assert e_values.e[WORSE, 0] == pytest.approx(np.mean(gains))


RATIO = st.floats(-2, 2)


@settings(max_examples=150, deadline=None)
@given(
    d=st.lists(RATIO, min_size=1, max_size=30),
    scale=st.floats(1e-3, 1),
    levels=st.tuples(*[st.floats(0.01, 0.999)] * 2),
)
def test_the_estimate_lies_in_its_interval_at_every_level(
    d: list[float], scale: float, levels: tuple[float, float]
) -> None:
    interval = Interval(np.array(d), np.full(len(d), scale))
    middle, (wide, narrow) = interval.estimate, (interval.ends(max(levels)), interval.ends(min(levels)))
    assert min(d) - 1e-9 <= middle <= max(d) + 1e-9
    for low, high in (wide, narrow):
        assert low <= middle <= high
    if narrow[0] < narrow[1] - 1e-9:  # where the sides do not contradict each other, ends are nested
        assert wide[0] <= narrow[0] + 1e-9
        assert narrow[1] <= wide[1] + 1e-9


@settings(max_examples=60, deadline=None)
@given(d=st.lists(RATIO, min_size=1, max_size=25), shift=st.floats(-1, 1))
def test_the_estimate_moves_with_the_blocks_and_turns_with_their_signs(d: list[float], shift: float) -> None:
    values, scale = np.array(d), np.full(len(d), 0.5)
    middle = Interval(values, scale).estimate
    assert Interval(values + shift, scale).estimate == pytest.approx(middle + shift, abs=1e-6)
    assert Interval(-values, scale).estimate == pytest.approx(-middle, abs=1e-6)


def test_an_interval_holds_although_one_stops_when_it_excludes_nothing_being_changed() -> None:
    """The worst way to stop: at the first block at which the interval leaves the truth out."""
    rng, theta, runs = np.random.default_rng(8), 0.02, 250
    missed = 0
    for _ in range(runs):
        y = 0.03 * rng.standard_t(2, size=(25, 2))
        d = theta + rng.choice([-1, 1], 25) * (y[:, 1] - y[:, 0])
        for blocks in range(5, 26, 2):
            low, high = Interval(d[:blocks], np.full(blocks, 0.04)).ends(0.9)
            if not low <= theta <= high:
                missed += 1
                break
    assert binomtest(missed, runs, 0.1, alternative="greater").pvalue > 1e-6
    low, high = Interval(theta + 0.03 * rng.standard_normal(200), np.full(200, 0.03)).ends(0.9)
    assert theta - 0.02 < low < high < theta + 0.02


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_the_ends_of_an_interval_are_where_the_e_value_reaches_its_bar(level: float) -> None:
    """E by its definition, a mean of products over λ and k, is 2 / (1 − level) at either end."""
    d = 0.02 + 0.05 * np.random.default_rng(10).standard_t(3, 40)
    scale = np.full(40, 0.05)
    for sign, end in zip((1, -1), Interval(d, scale).ends(level), strict=True):
        gains = [
            float(np.prod(1 + fraction * np.tanh(shape * sign * (d - end) / scale)))
            for fraction in (0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
            for shape in (0.5, 1.0, 4.0)
        ]
        assert np.mean(gains) == pytest.approx(2 / (1 - level), rel=1e-6)


def test_an_interval_reaches_no_further_than_its_limits() -> None:
    far = Interval(np.full(40, 100.0), np.full(40, 0.05))
    assert far.estimate == 12.0
    assert far.ends(0.95) == (12.0, np.inf)


def test_no_blocks_say_nothing() -> None:
    for d in ([], [np.nan]):
        nothing = Interval(np.array(d), np.full(len(d), 0.1))
        assert nothing.ends(0.95) == (-np.inf, np.inf)
        assert np.isnan(nothing.estimate)
