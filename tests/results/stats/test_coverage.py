"""Coverage of 95 % intervals, simulated on window losses that correlate as real ones do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from qbench.results.stats.bootstrap import Kind, intervals

CORRELATION: dict[str, tuple[Kind, tuple[float, ...]]] = {
    "losses": ("own", (0.35, 0.11, 0.065, 0.06, 0.06, 0.03)),
    "divergence": ("own", (0.30, 0.04, 0.045, 0.08, 0.02, 0.03)),
    "loss difference": ("difference", (0.10, 0.065, 0.04, 0.02)),
    "agreement": ("difference", (0.06, 0.03, 0.08, 0.0, 0.03)),
}
"""Quantity → its kind and its autocorrelation by distance, measured on all 251 windows of 512 of
*Persuasion* (austen-6m; absmax 8 bits, zeropoint 4 bits, hqq 3 bits)."""
TOKENS = 511.0
CORPORA = 4000


def moving_average(correlation: tuple[float, ...]) -> NDArray[np.float64]:
    """Weights of the moving average with this autocorrelation, by Kolmogorov's spectral factorisation."""
    n = 4096
    around = np.concatenate([[1.0], correlation, np.zeros(n - 2 * len(correlation) - 1), correlation[::-1]])
    cepstrum = np.fft.irfft(np.log(np.fft.rfft(around).real), n)
    cepstrum[0] /= 2
    cepstrum[n // 2 :] = 0
    return np.asarray(np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), n)[: len(correlation) + 1])


def losses(what: str, windows: int, seed: int) -> NDArray[np.float64]:
    """Window losses (corpora, windows) of mean 0 and variance 1, a little skewed as real ones are."""
    weights = moving_average(CORRELATION[what][1])
    chance = np.random.default_rng([seed, windows])
    drawn = chance.gamma(64.0, 1 / 8.0, size=(CORPORA, windows + len(weights) - 1)) - 8.0
    return np.stack([np.convolve(row, weights, "valid") for row in drawn])


def test_the_simulated_losses_correlate_as_asked() -> None:
    for what, (_, wanted) in CORRELATION.items():
        drawn = losses(what, 400, 1)
        found = [np.mean(drawn[:, :-step] * drawn[:, step:]) for step in range(1, len(wanted) + 1)]
        assert np.var(drawn) == pytest.approx(1.0, abs=0.02)
        assert found == pytest.approx(wanted, abs=0.01)


def covered(what: str, windows: int, seed: int) -> float:
    """Share of the corpora whose interval holds the truth."""
    truth = 3.9
    sums = TOKENS * (truth + 0.19 * losses(what, windows, seed))
    _, low, high = intervals(sums, np.full(windows, TOKENS), CORRELATION[what][0])
    return float(np.mean((low <= truth) & (high >= truth)))


@pytest.mark.parametrize("what", CORRELATION)
@pytest.mark.parametrize("windows", [*range(2, 17), 20, 24, 32, 48, 64, 128])
def test_a_95_percent_interval_covers_95_percent(what: str, windows: int) -> None:
    """4,000 corpora: within two percentage points, and half a point for chance (σ is 0.34)."""
    assert 0.925 <= covered(what, windows, 2) <= 0.975


def test_losses_that_do_not_correlate_are_not_overdone() -> None:
    """Windows that have nothing to do with each other are covered little more often than is said."""
    for windows in (8, 16, 64):
        nll = TOKENS * np.random.default_rng(windows).normal(3.9, 0.19, size=(CORPORA, windows))
        _, low, high = intervals(nll, np.full(windows, TOKENS), "difference")
        assert 0.93 <= np.mean((low <= 3.9) & (high >= 3.9)) <= 0.98
