"""The section `energy` of a suite."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from qbench.section import Section


class EnergySpec(Section):
    """Joules per token, where the machine has a counter that can be read."""

    key: ClassVar[str] = "energy"

    min_window_s: float = Field(
        5.0,
        ge=0.1,
        le=3600,
        description="Least length of a measured window, in seconds; shorter ones widen energy_error_pct",
    )
    trials: Annotated[int, Field(ge=1, le=1000)] = Field(
        3, description="Windows measured of prefill and of decode; from three on there is an interval"
    )
