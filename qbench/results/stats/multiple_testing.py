"""Corrections of p-values for the number of tests: Holm, and Benjamini and Hochberg.

`holm` bounds the probability of any false alarm by alpha, under any dependence (Holm 1979). It asks of each p
that P(p ≤ a) ≤ a under its null when it is looked at. An anytime-valid p-value, 1 / (largest e-value so far;
`qbench.gate.timing.e_values`), has that at every stopping time at once. So the bound holds although sampling
stops when the results say so, for some cells earlier than for others.

`benjamini_hochberg` bounds the false discovery rate: the expected share of false alarms among the alarms. For
dependent p-values that would need a further factor. With 1 / E for p, E being the e-value at the moment of
stopping instead of its maximum, it is the e-BH procedure, which holds under any dependence (Wang and Ramdas
2022). So `qbench.gate.timing.timed` passes 1 / E to it, and 1 / max E to `holm`.

The tests to correct for are all that were planned, sampled or not: their number is fixed beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def holm(p: Sequence[float] | Array) -> Array:
    """Adjusted p-values: at most alpha where Holm's procedure at alpha rejects. Shape [tests]."""
    values = _checked(p)
    order = np.argsort(values, kind="stable")
    factors = len(values) - np.arange(len(values))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def benjamini_hochberg(p: Sequence[float] | Array) -> Array:
    """Adjusted p-values: at most alpha where Benjamini and Hochberg (1995) reject at alpha. Shape [tests]."""
    from scipy.stats import false_discovery_control

    values = _checked(p)
    return np.asarray(false_discovery_control(values, method="bh")) if len(values) else values


CORRECTIONS: dict[str, Callable[[Sequence[float] | Array], Array]] = {"holm": holm, "bh": benjamini_hochberg}


def _checked(p: Sequence[float] | Array) -> Array:
    values = np.asarray(p, dtype=np.float64)
    if values.size and not (values.min() >= 0 and np.isfinite(values.max())):
        raise ValueError("a p-value is a number from 0 on")
    return np.minimum(values, 1.0)
