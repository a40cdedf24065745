"""Energy: joules per prompt token and per generated token."""

from __future__ import annotations

from qbench.probes.energy.context import TEXTS
from qbench.probes.energy.metrics import METRICS
from qbench.probes.energy.section import EnergySpec
from qbench.probes.energy.series import QUANTITIES, series
from qbench.probes.probe import Probe

PROBE = Probe(
    name="energy",
    settings=EnergySpec,
    unit="J",
    description="energy per prompt token and per generated token",
    order=40,  # The longest: late.
    entry="qbench.probes.energy.measure.trials:measure",
    metrics=METRICS,
    title="Joules per token; false: off",
    default=EnergySpec(),
    series=series,
    quantities=QUANTITIES,
    texts=TEXTS,
    clock="whole",
)
