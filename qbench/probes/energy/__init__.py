"""Energy: joules per prompt token and per generated token."""

from __future__ import annotations

from qbench.probes.energy.context import TEXTS
from qbench.probes.energy.metrics import METRICS
from qbench.probes.probe import Probe

PROBE = Probe(
    name="energy",
    section="energy",
    unit="J",
    description="energy per prompt token and per generated token",
    order=40,  # The longest: late.
    entry="qbench.probes.energy.measure.trials:measure",
    metrics=METRICS,
    texts=TEXTS,
    clock="whole",
)
