"""The rank test against SciPy's exact one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from qbench.results.stats.rank_tests import larger_p, least_p


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (3, 4), (7, 7), (12, 9)])
def test_p_is_scipys(n: int, m: int) -> None:
    rng = np.random.default_rng([n, m])
    for shift in (-1.0, 0.0, 2.0):
        x, y = list(rng.normal(shift, 1, n)), list(rng.normal(0, 1, m))
        assert larger_p(x, y) == pytest.approx(
            mannwhitneyu(x, y, alternative="greater", method="exact").pvalue
        )
    assert larger_p(range(10, 10 + n), range(m)) == pytest.approx(least_p(n, m))


def test_ties_never_help() -> None:
    assert larger_p([1.0, 1.0, 2.0], [1.0, 1.0, 1.0]) > larger_p([1.1, 1.2, 2.0], [1.0, 1.0, 1.0])
    assert larger_p([1.0] * 5, [1.0] * 5) == 1.0
