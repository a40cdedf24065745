"""The parameters that every integer method shares, checked in one place and without torch."""

from __future__ import annotations

DEFAULT_GROUP_SIZE = 64
"""Divides the widths of nearly every model, SmolLM2's 576 among them; 128 does not."""

DEFAULT_PERCENTILE = 99.9
"""Leaves one weight in a thousand outside the range, at each end that is chosen."""


def checked_percentile(range: str, percentile: float | None) -> float | None:
    """The percentile in force: as given, or DEFAULT_PERCENTILE for range percentile, None for the others.

    Raises ValueError for a percentile outside 50 … 100 (100 is range minmax), or one that the range ignores.
    """
    if range != "percentile":
        if percentile is not None:
            raise ValueError(f"percentile = {percentile} has no meaning for range {range!r}; leave it out")
        return None
    if percentile is None:
        return DEFAULT_PERCENTILE
    if not 50 < percentile < 100:
        raise ValueError(f"percentile = {percentile}: it lies between 50 and 100; 100 is range minmax")
    return float(percentile)


def checked_group_size(num_bits: int, strategy: str, group_size: int | None, activations: str) -> int | None:
    """The group size in force: as given, or DEFAULT_GROUP_SIZE for strategy group, None for the others.

    Raises ValueError for a width outside 2 … 8, a group size that the strategy does not use (two cells
    would differ in name and agree in every number), or int8 activations beside codes that no int8
    multiplication takes.
    """
    if not 2 <= num_bits <= 8:
        raise ValueError(f"num_bits = {num_bits}: it lies in 2 … 8")
    if activations != "none" and (num_bits != 8 or strategy == "group"):
        raise ValueError(
            f"activations {activations!r} is int8 times int8: it needs num_bits 8, strategy tensor or "
            f"channel; this is {num_bits} and {strategy}"
        )
    if strategy != "group":
        if group_size is not None:
            raise ValueError(
                f"group_size = {group_size} has no meaning for strategy {strategy!r}; leave it out"
            )
        return None
    if group_size is None:
        return DEFAULT_GROUP_SIZE
    if group_size < 2:
        raise ValueError(f"group_size = {group_size}: it is at least 2")
    return group_size
