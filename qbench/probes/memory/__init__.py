"""Memory: bytes on disk, resident by part, and at the peak."""

from __future__ import annotations

from qbench.probes.memory.metrics import METRICS
from qbench.probes.probe import Probe

PROBE = Probe(
    name="memory",
    section="memory",
    unit="B",
    description="bytes on disk, resident by part, and at the peak",
    order=20,
    entry="qbench.probes.memory.measure.footprint:measure",
    metrics=METRICS,
)
