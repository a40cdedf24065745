"""Which cells no other cell beats in both of two numbers, lower being better in each."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other dominates, by rising first number; of equal points the first."""
    chosen: list[int] = []
    best = float("inf")
    for index in sorted(range(len(points)), key=lambda place: (points[place][0], points[place][1], place)):
        if points[index][1] < best:
            best = points[index][1]
            chosen.append(index)
    return chosen
