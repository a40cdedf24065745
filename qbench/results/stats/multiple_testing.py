"""Many tests at once: p-values corrected for their number.

`holm` bounds the probability of any false alarm by alpha, under any dependence (Holm 1979). It needs of
each p that P(p ≤ a) ≤ a under its null, at the moment when it is looked at. An anytime-valid p-value, 1 /
max E over the laps so far (`betting`), has that at every stopping time at once, so the bound holds although
sampling stops when the results say so, for some cells earlier than for others.

`benjamini_hochberg` bounds the expected share of false ones among the alarms. For dependent p-values that
would need a further factor; for 1 / E with E at the moment of stopping instead of its maximum it is the
e-BH procedure, which holds under any dependence (Wang and Ramdas 2022). So `timed` hands it 1 / E, and Holm
1 / max E.

The family is all comparisons that were planned, whether or not they were sampled: its size is fixed
beforehand.
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
    stepped = np.maximum.accumulate(values[order] * factors)
    return _unsorted(np.minimum(stepped, 1.0), order)


def benjamini_hochberg(p: Sequence[float] | Array) -> Array:
    """Adjusted p-values: at most alpha where Benjamini and Hochberg (1995) reject at alpha. Shape [tests]."""
    values = _checked(p)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / (np.arange(len(values)) + 1)
    stepped = np.minimum.accumulate(scaled[::-1])[::-1]
    return _unsorted(np.minimum(stepped, 1.0), order)


CORRECTIONS: dict[str, Callable[[Sequence[float] | Array], Array]] = {
    "holm": holm,
    "bh": benjamini_hochberg,
}


def _checked(p: Sequence[float] | Array) -> Array:
    values = np.asarray(p, dtype=np.float64)
    if values.size and not (values.min() >= 0 and np.isfinite(values.max())):
        raise ValueError("a p-value is a number from 0 on")
    return np.minimum(values, 1.0)


def _unsorted(ordered: Array, order: NDArray[np.intp]) -> Array:
    found = np.empty_like(ordered)
    found[order] = ordered
    return found
