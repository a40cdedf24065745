"""`RawSeries`: raw samples of one record as a probe gives them to the table of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Numbers = Sequence[float | None]
Places = Sequence[int | None]


@dataclass(frozen=True, slots=True)
class RawSeries:
    """One quantity of one record: what is equal for all of its values once, what differs as lists.

    The lists are as long as `values`; None is a list of nulls.
    """

    probe: str
    """The probe, or `phases`."""
    quantity: str
    unit: str
    values: Numbers
    item: str | None = None
    """Name of one of several: the task, the part of an energy measurement, the share of a quantile."""
    prompt_length: int | None = None
    batch_size: int | None = None
    index: Places | None = None
    """Window, round, trial or document, from 0."""
    step: Places | None = None
    """Within it: decode step from 1, power sample, tick, choice."""
    lap: Places | None = None
    at_s: Numbers | None = None
    tokens: Numbers | None = None
