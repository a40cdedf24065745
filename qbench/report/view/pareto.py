"""Pareto front: cells that no other beats in both of two numbers, lower being better in each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ends = tuple[float, float]


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other dominates, by rising first number; of equal points the first."""
    chosen: list[int] = []
    best = float("inf")
    for index in sorted(range(len(points)), key=lambda place: (points[place][0], points[place][1], place)):
        if points[index][1] < best:
            best = points[index][1]
            chosen.append(index)
    return chosen


def beaten(x: Sequence[Ends], y: Sequence[Ends]) -> list[bool]:
    """Returns for each point whether another beats it in both numbers by more than their intervals.

    `x` and `y` are (low, high) by point. A point is beaten where another's upper ends are nowhere above its
    lower ends, and below in at least one of the two numbers. What is neither on the front nor beaten cannot
    be told from the front.
    """
    if not x:
        return []
    (x_low, x_high), (y_low, y_high) = _columns(x), _columns(y)
    nowhere_above = (x_high[:, None] <= x_low) & (y_high[:, None] <= y_low)
    somewhere_below = (x_high[:, None] < x_low) | (y_high[:, None] < y_low)
    found: list[bool] = np.any(nowhere_above & somewhere_below, axis=0).tolist()
    return found


def _columns(ends: Sequence[Ends]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    both = np.asarray(ends, dtype=np.float64)
    return both[:, 0], both[:, 1]
